import type { Ip } from '../../lease/net/ip.ts'
import type { Route } from './entry.ts'

/**
 * RTPROT_BOOT: the protocol of `ip route add` and flanneld. Our routes on our own devices have it too, so
 * that flanneld and twill can take over from each other.
 */
export const BOOT_PROTOCOL = 3

/**
 * The protocol of our routes on interfaces that are not ours (host-gw, DirectRouting). The number is free in
 * iproute2's rt_protos. flanneld uses `boot` there too, like `ip route add`.
 */
export const TWILL_PROTOCOL = 117

/** RTPROT_KERNEL, RTPROT_RA: routes that the kernel adds itself. */
export const KERNEL_PROTOCOLS: ReadonlySet<number> = new Set([2, 9])

/** The existing route in the place of a wanted one: same destination, same metric. */
export interface RouteHolder {
  readonly protocol: number
  /** Whether it uses the device of the wanted route. */
  readonly isOnSameDevice: boolean
  readonly via: Ip | undefined
}

/**
 * Whether a wanted route may replace the holder: only where the holder is ours or flanneld's. On our own
 * devices that is every route but the kernel's; elsewhere a `boot` route with the same gateway.
 */
export function mayReplace(holder: RouteHolder, wanted: Route): boolean {
  if (holder.protocol === TWILL_PROTOCOL) return true
  if (KERNEL_PROTOCOLS.has(holder.protocol) || !holder.isOnSameDevice) return false
  if (wanted.protocol === BOOT_PROTOCOL) return true
  return wanted.type === 'unicast' && holder.protocol === BOOT_PROTOCOL && holder.via === wanted.via
}
