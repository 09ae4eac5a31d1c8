import type { BackendData } from '../../lease/backend_data.ts'
import { ExpectedError } from '../../lease/common/errors.ts'
import type { Lease } from '../../lease/lease.ts'
import type { Ip } from '../../lease/net/ip.ts'
import type { Mac } from '../../lease/net/mac.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { Entry } from '../state/entry.ts'

/** The network under the overlay, as this node sees it. */
export interface Underlay {
  readonly name: string
  readonly underlayMtu: number
  /** Addresses at which peers reach this node, one a family of the network, in the network's order. */
  readonly publicIps: readonly Ip[]
  /**
   * Source addresses of tunnel packets, one a family: the public IP if the interface has it, else its own.
   */
  readonly localIps: readonly Ip[]
  /** Prefixes that the external interface reaches without a gateway: a peer there needs no tunnel. */
  readonly onLink: readonly Prefix[]
}

/** A way to carry packets to a peer's subnet. Pure: turns leases into kernel entries. */
export interface Backend {
  readonly type: string
  /** Names of this backend's devices, whether they exist or not. */
  readonly devices: readonly string[]
  /** In bytes: the largest packet that a pod may send, the same for all families. */
  overlayMtu(underlay: Underlay): number
  /** Backend data to publish, one a family of the network; undefined where there is none. */
  publish(macs: readonly Mac[]): readonly BackendData[]
  /** The MACs that a lease published, one a family of the network; undefined where it has none. */
  publishedMacs(lease: Lease): readonly (Mac | undefined)[]
  ownEntries(self: Lease, underlay: Underlay): readonly Entry[]
  /** The entries that make one peer reachable. Throws PeerRefusedError where its lease cannot be used. */
  peerEntries(self: Lease, peer: Lease, underlay: Underlay): readonly Entry[]
}

/** A lease that this backend cannot turn into entries. The message says which value and why. */
export class PeerRefusedError extends ExpectedError {
  override name = 'PeerRefusedError'
}
