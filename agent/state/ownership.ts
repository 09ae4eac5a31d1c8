import type { Ip } from '../../lease/net/ip.ts'
import type { Route } from './entry.ts'

/** RTPROT_BOOT: what `ip route add` and flanneld write. Routes on our own devices carry it, so that either may take over. */
export const BOOT_PROTOCOL = 3

/**
 * Marks our routes on interfaces that are not ours (host-gw, DirectRouting). Free in iproute2's rt_protos; flanneld writes
 * `boot` there too, and so can tell its own routes from others'.
 */
export const TWILL_PROTOCOL = 117

/** RTPROT_KERNEL, RTPROT_RA: what the kernel adds itself. */
export const KERNEL_PROTOCOLS: ReadonlySet<number> = new Set([2, 9])

/** A route that stands where another one is wanted: same destination, same metric. */
export interface RouteHolder {
  readonly protocol: number
  /** Whether it leads over the device of the wanted route. */
  readonly isOnSameDevice: boolean
  readonly via: Ip | undefined
}

/**
 * Whether a wanted route may take the place of the holder: only where that is ours, or what flanneld left. On our own devices
 * that is everything but the kernel's routes; elsewhere a `boot` route that leads the same way.
 */
export function mayReplace(holder: RouteHolder, wanted: Route): boolean {
  if (holder.protocol === TWILL_PROTOCOL) return true
  if (KERNEL_PROTOCOLS.has(holder.protocol) || !holder.isOnSameDevice) return false
  if (wanted.protocol === BOOT_PROTOCOL) return true
  return wanted.type === 'unicast' && holder.protocol === BOOT_PROTOCOL && holder.via === wanted.via
}
