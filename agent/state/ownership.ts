import type { Ip } from '../../lease/net/ip.ts'
import type { Route } from './entry.ts'

/** RTPROT_BOOT, as of `ip route add` and flanneld, on our own devices: either agent can take over. */
export const BOOT_PROTOCOL = 3

/** Of our routes elsewhere (host-gw, DirectRouting): free in iproute2's rt_protos. flanneld has `boot`. */
export const TWILL_PROTOCOL = 117

/** RTPROT_KERNEL, RTPROT_RA: routes that the kernel adds itself. */
export const KERNEL_PROTOCOLS: ReadonlySet<number> = new Set([2, 9])

/** The existing route in the place of a wanted one: same destination, same metric. */
export interface RouteHolder {
  readonly protocol: number
  readonly isOnSameDevice: boolean
  readonly via: Ip | undefined
}

/** On our own devices every route but the kernel's; elsewhere ours, or a `boot` one to the same gateway. */
export function mayReplace(holder: RouteHolder, wanted: Route): boolean {
  if (holder.protocol === TWILL_PROTOCOL) return true
  if (KERNEL_PROTOCOLS.has(holder.protocol) || !holder.isOnSameDevice) return false
  if (wanted.protocol === BOOT_PROTOCOL) return true
  return wanted.type === 'unicast' && holder.protocol === BOOT_PROTOCOL && holder.via === wanted.via
}
