import type { BackendData } from '../../lease/backend_data.ts'
import { ExpectedError } from '../../lease/common/errors.ts'
import type { Lease } from '../../lease/lease.ts'
import type { Ip } from '../../lease/net/ip.ts'
import type { Mac } from '../../lease/net/mac.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import type { Entry } from '../state/entry.ts'

/** The network under the overlay, as this node sees it. */
export interface Underlay {
  /** Name of the external interface. */
  readonly name: string
  readonly underlayMtu: number
  /** What peers reach us by, one a family of the network, in its order. */
  readonly publicIps: readonly Ip[]
  /** Source address of what we send, one a family: on the interface itself, or the public IP where that is. */
  readonly localIps: readonly Ip[]
  /** Prefixes reached without a gateway through the external interface: a peer there needs no tunnel. */
  readonly onLink: readonly Prefix[]
}

/** How packets for a peer's subnet get there. Pure: a table of leases in, kernel entries out. One file each. */
export interface Backend {
  readonly type: string
  /** Names of the devices that are this backend's own, there or not. */
  readonly devices: readonly string[]
  /** In bytes: the largest packet that a pod may send, the same for all families. */
  overlayMtu(underlay: Underlay): number
  /** Backend data to publish, one a family of the network; undefined where nothing is. */
  publish(macs: readonly Mac[]): readonly BackendData[]
  /** The MACs that a lease published, one a family of the network; undefined where it holds none. */
  publishedMacs(lease: Lease): readonly (Mac | undefined)[]
  /** Device and addresses of this node. */
  ownEntries(self: Lease, underlay: Underlay): readonly Entry[]
  /** What makes one peer reachable. Throws PeerRefusedError where its lease cannot be used. */
  peerEntries(self: Lease, peer: Lease, underlay: Underlay): readonly Entry[]
}

/** Makes a backend from the network config. Throws NetworkConfigError for an option that it cannot have. */
export type BackendFactory = (network: NetworkConfig) => Backend

/** A lease that this backend cannot turn into entries. The message says which value and why. */
export class PeerRefusedError extends ExpectedError {
  override name = 'PeerRefusedError'
}
