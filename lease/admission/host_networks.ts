import type { Ip } from '../net/ip.ts'
import { contains, edgesOf, overlaps, type Prefix } from '../net/prefix.ts'

/** Addresses that the host itself uses, and what for: the words complete `10.0.5.0/24 ...`. */
export interface HostNetwork {
  readonly prefix: Prefix
  /** `is connected to eth0`, `is the default gateway`. */
  readonly use: string
  /**
   * Which leases would take these addresses from the host: all that overlap, or, for a route of another program, those
   * that lie inside of it. `smaller`: only those that lie inside and are not equal, as an equal route may be one that
   * flanneld left for this very peer.
   */
  readonly refuses: 'overlapping' | 'inside' | 'smaller'
  /** This node itself is reached by it, and its tunnel with it: it goes before a peer that is programmed already. */
  readonly carriesNode: boolean
}

/**
 * What the host lives on: no lease is chosen or programmed over it, however it came into the store. Read from the kernel by
 * the agent.
 */
export interface HostNetworks {
  /** Those that overlap the pod network. */
  readonly overlapping: readonly HostNetwork[]
  /** Prefixes of the host's interfaces, whether they overlap the pod network or not. */
  readonly connected: readonly Prefix[]
  /** All addresses of the host outside of its own pods' subnets. */
  readonly addresses: ReadonlySet<Ip>
}

export const noHostNetworks: HostNetworks = { overlapping: [], connected: [], addresses: new Set() }

/** What of the host a lease for that prefix would take away; undefined where nothing. */
export function hostNetworkUnder(prefix: Prefix, { overlapping }: HostNetworks): HostNetwork | undefined {
  return overlapping.find(host => isTakenBy(prefix, host))
}

/** Whether a lease for that prefix would take it away. */
export function isTakenBy(prefix: Prefix, host: HostNetwork): boolean {
  if (host.refuses === 'overlapping') return overlaps(host.prefix, prefix)
  return contains(host.prefix, prefix) && (host.refuses === 'inside' || host.prefix !== prefix)
}

/** Why packets for a node cannot be sent to this public IP over the host's interfaces; undefined where they can. */
export function edgeOfNetwork(publicIp: Ip, { connected }: HostNetworks): string | undefined {
  for (const prefix of connected) {
    const edges = edgesOf(prefix)
    if (publicIp === edges?.network) return `is the network address of ${prefix}`
    if (publicIp === edges?.broadcast) return `is the broadcast address of ${prefix}`
  }
  return undefined
}
