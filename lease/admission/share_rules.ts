import { couldBeLeased } from '../allocate.ts'
import type { Lease, Subnet } from '../lease.ts'
import { familyOf } from '../net/ip.ts'
import { contains, overlaps, type Prefix } from '../net/prefix.ts'
import { type NetworkConfig, networkFor } from '../network_config/network_config.ts'
import type { HostPriority } from './host_priority.ts'
import { publicIpTrouble } from './public_ip.ts'

type Addresses = Pick<Subnet, 'prefix' | 'publicIp'>

/**
 * Rules for one subnet, whatever other peers have: it lies inside the network, takes neither this node's nor
 * the host's addresses, and its public IP can be a peer's.
 */
export class ShareRules {
  self: Lease | undefined
  readonly #network: NetworkConfig
  readonly #host: HostPriority
  readonly #nextOrder: () => number

  /** `nextOrder` returns the next position in the sequence of claims. */
  constructor(network: NetworkConfig, host: HostPriority, nextOrder: () => number) {
    this.#network = network
    this.#host = host
    this.#nextOrder = nextOrder
  }

  /** The rule that the subnet breaks, with the remedy. `heldSince`: since when it is programmed. */
  unsound({ prefix, publicIp }: Subnet, heldSince: number | undefined): string | undefined {
    const network = networkFor(this.#network, prefix)?.network
    if (network === undefined)
      return `subnet ${prefix} is ${familyOf(prefix)}, which the network does not have: enable it or restart that node's agent`
    if (!contains(network, prefix))
      return `subnet ${prefix} is outside of the network ${network}: that node runs with another network config`
    const remedy = "set that node's --public-ip or --iface"
    if (contains(prefix, publicIp))
      return `public IP ${publicIp} lies in the subnet ${prefix} that it leads to: ${remedy}`
    return (
      this.takesOurs({ prefix, publicIp }, remedy) ??
      this.#takesHostNetwork(prefix, heldSince) ??
      this.#badPublicIp({ prefix, publicIp }, network, remedy) ??
      (couldBeLeased(this.#network, prefix)
        ? undefined
        : `subnet ${prefix} is more than a quarter of the network ${network}, which no lease can be: delete it`)
    )
  }

  #takesHostNetwork(prefix: Prefix, heldSince: number | undefined): string | undefined {
    const host = this.#host.firstUnder(prefix, heldSince, this.#nextOrder)
    if (host === undefined) return undefined
    return `subnet ${prefix} overlaps ${host.prefix}, which ${host.use}: give that node a subnet outside of it`
  }

  #badPublicIp({ prefix, publicIp }: Addresses, network: Prefix, remedy: string): string | undefined {
    const trouble = this.#host.networks.addresses.has(publicIp)
      ? 'is an address of this host'
      : publicIpTrouble(publicIp, network, this.#host.networks)
    return trouble && `public IP ${publicIp} of ${prefix} ${trouble}: ${remedy}`
  }

  /** Names this node's own subnet or public IP that the peer's subnet takes, if any. */
  takesOurs({ prefix, publicIp }: Addresses, remedy: string): string | undefined {
    for (const own of this.self?.subnets ?? []) {
      if (overlaps(own.prefix, prefix))
        return `subnet ${prefix} overlaps our own ${own.prefix}: remove whichever of the two leases is stale`
      if (own.publicIp === publicIp) return `public IP ${publicIp} of ${prefix} is our own: ${remedy}`
      if (contains(own.prefix, publicIp))
        return `public IP ${publicIp} of ${prefix} lies in our own subnet ${own.prefix}: ${remedy}`
    }
    return undefined
  }

  /** By name, or by subnets and public IPs: an earlier process of this node may have used another key. */
  isSelf(lease: Lease): boolean {
    const { self } = this
    if (self === undefined) return false
    const isOurs = ({ prefix, publicIp }: Subnet) =>
      self.subnets.some(own => own.prefix === prefix && own.publicIp === publicIp)
    return lease.node === self.node || lease.subnets.every(isOurs)
  }
}
