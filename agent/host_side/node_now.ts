import type { Ip } from '../../lease/net/ip.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import { nodeSubnets } from '../../lease/node_subnets.ts'
import type { Backend } from '../backend/backend.ts'
import type { Tunnel } from '../firewall/tunnel_filter.ts'
import type { Membership } from '../membership/membership.ts'
import type { OwnLease } from '../membership/own_lease.ts'
import type { CniConfig } from '../node_files/cni_config.ts'

interface NodeParts {
  readonly network: NetworkConfig
  readonly backend: Backend
  readonly ownLease: Pick<OwnLease, 'underlay'>
  readonly membership: Membership
}

/** The node's current subnets, tunnel and addresses, read at each call. */
export class NodeNow {
  readonly #parts: NodeParts

  constructor(parts: NodeParts) {
    this.#parts = parts
  }

  get cniConfig(): CniConfig {
    const { network, backend, ownLease, membership } = this.#parts
    const overlayMtu = backend.overlayMtu(ownLease.underlay)
    return { families: nodeSubnets(network, membership.self), overlayMtu }
  }

  /** Undefined while this node has no tunnel. */
  get tunnel(): Tunnel | undefined {
    const { ownEntries, peers } = this.#parts.membership
    const device = ownEntries.find(entry => entry.kind === 'link')
    return device && { ...device.vxlan, device: device.name, peers }
  }

  get addresses(): readonly Ip[] {
    return this.#parts.membership.ownAddresses
  }

  isPeerAddress(address: Ip): boolean {
    return this.#parts.membership.isPeerAddress(address)
  }
}
