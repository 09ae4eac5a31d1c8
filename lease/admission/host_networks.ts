import type { Ip } from '../net/ip.ts'
import { contains, edgesOf, overlaps, type Prefix } from '../net/prefix.ts'

/** Addresses that the host itself uses, and for what. */
export interface HostNetwork {
  readonly prefix: Prefix
  /** Completes `10.0.5.0/24, which ...`: `is connected to eth0`, `is the default gateway`. */
  readonly use: string
  /**
   * Which leases it refuses: `overlapping` all that overlap it; `inside`, for routes of other programs, those
   * inside; `smaller` those inside and not equal: flanneld may have left an equal route for this very peer.
   */
  readonly refuses: 'overlapping' | 'inside' | 'smaller'
  /** The node, and so its tunnel, is reached through it: it comes even before programmed peers. */
  readonly carriesNode: boolean
}

/** What the host itself needs. No lease is programmed over it, not even one that an operator wrote. */
export interface HostNetworks {
  readonly overlapping: readonly HostNetwork[]
  /** Prefixes of the host's interfaces, whether they overlap the pod network or not. */
  readonly connected: readonly Prefix[]
  /** All addresses of the host outside of its own pods' subnets. */
  readonly addresses: ReadonlySet<Ip>
}

export const noHostNetworks: HostNetworks = { overlapping: [], connected: [], addresses: new Set() }

/** The host's network that a lease for this prefix would take away; undefined where there is none. */
export function hostNetworkUnder(prefix: Prefix, { overlapping }: HostNetworks): HostNetwork | undefined {
  return overlapping.find(host => isTakenBy(prefix, host))
}

/** Whether a lease for this prefix would take the host's network away. */
export function isTakenBy(prefix: Prefix, host: HostNetwork): boolean {
  if (host.refuses === 'overlapping') return overlaps(host.prefix, prefix)
  return contains(host.prefix, prefix) && (host.refuses === 'inside' || host.prefix !== prefix)
}

/** Why this public IP cannot be reached over the host's interfaces; undefined where it can. */
export function edgeOfNetwork(publicIp: Ip, { connected }: HostNetworks): string | undefined {
  for (const prefix of connected) {
    const edges = edgesOf(prefix)
    if (publicIp === edges?.network) return `is the network address of ${prefix}`
    if (publicIp === edges?.broadcast) return `is the broadcast address of ${prefix}`
  }
  return undefined
}
