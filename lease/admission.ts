import { couldBeLeased } from './allocate.ts'
import { type HostNetworks, hostNetworkUnder, noHostNetworks } from './host_networks.ts'
import type { Lease, LeaseTable, Subnet } from './lease.ts'
import { familyOf, type Ip } from './net/ip.ts'
import { contains, overlaps, type Prefix } from './net/prefix.ts'
import { PrefixIndex } from './net/prefix_index.ts'
import type { NetworkConfig } from './network_config.ts'
import { publicIpTrouble } from './public_ip.ts'

/** One family's share of a peer's lease, and why it is not let in: undefined where it is. */
interface Claim {
  readonly node: string
  /** Which claim was seen first; those of one table by age. */
  readonly order: number
  readonly subnet: Subnet
  reason: string | undefined
}

interface Peer {
  readonly lease: Lease
  readonly claims: readonly Claim[]
}

/**
 * Keeps the invariant that a lease is foreign input: what reaches a backend lies inside the network, overlaps neither our
 * own subnets nor another peer's, and is sent to an address that can be a peer's. One public IP in two leases is no conflict:
 * a host that was given another's address must not be cut off by what that one left.
 *
 * Where two peers claim the same addresses, the one that is let in stays, whatever its age, until it goes or takes another subnet; of those
 * that come together the older (by `since`, then by name) is let in. A claim is one family's: a peer with one bad family keeps the other.
 * What it costs depends on what changed and what that stood in the way of, not on how many peers there are.
 */
export class Admission {
  /** Peers with at least one family let in, with those families alone. Live: it changes with `update`. */
  readonly admitted: ReadonlyMap<string, Lease>
  /** Why a peer, or one of its families, is not let in. Live, as `admitted`; a peer can be in both. */
  readonly refused: ReadonlyMap<string, string>
  /** Public IPs that several leases have, and in which. Live, as `admitted`. */
  readonly shared: ReadonlyMap<Ip, readonly string[]>

  readonly #network: NetworkConfig
  readonly #admitted = new Map<string, Lease>()
  readonly #refused = new Map<string, string>()
  readonly #shared = new Map<Ip, readonly string[]>()
  #peers = new Map<string, Peer>()
  /** Claims that are sound by themselves. */
  #prefixes = new PrefixIndex<Claim>()
  #publicIps = new Map<Ip, Set<string>>()
  #claims = 0
  #self: Lease | undefined
  #host: HostNetworks = noHostNetworks
  #hostChanged = false

  constructor(network: NetworkConfig) {
    this.#network = network
    this.admitted = this.#admitted
    this.refused = this.#refused
    this.shared = this.#shared
  }

  /** The host's own networks from the next `update` on, which then judges all peers again. */
  setHost(host: HostNetworks): void {
    this.#host = host
    this.#hostChanged = true
  }

  /**
   * Takes over what changed in the table. Returns the peers whose share in `admitted` may differ: those that changed and
   * those that stood behind or before them; all where it is the first time, `self` has other subnets or the host other networks.
   */
  update(
    self: Lease,
    table: LeaseTable,
    changed: Iterable<string>,
  ): { readonly changed: ReadonlySet<string> } {
    const touched = new Set<string>()
    const all = this.#hostChanged || this.#self === undefined || identity(this.#self) !== identity(self)
    this.#self = self
    this.#hostChanged = false
    const before = this.#peers
    if (all) this.#forget(touched)
    const dirty = new Set<Claim>()
    const publicIps = new Set<Ip>()
    for (const node of byAge(all ? table.keys() : changed, table)) {
      touched.add(node)
      for (const ip of this.#replace(node, table.get(node), before.get(node), dirty)) publicIps.add(ip)
    }
    this.#judge(dirty, touched)
    for (const node of touched) this.#settle(node)
    for (const ip of publicIps) this.#share(ip)
    return { changed: touched }
  }

  #forget(touched: Set<string>): void {
    for (const node of this.#peers.keys()) touched.add(node)
    this.#peers = new Map()
    this.#prefixes = new PrefixIndex()
    this.#publicIps = new Map()
    this.#shared.clear()
  }

  /** Returns the public IPs of the old and the new lease. */
  #replace(
    node: string,
    lease: Lease | undefined,
    before: Peer | undefined,
    dirty: Set<Claim>,
  ): readonly Ip[] {
    const old = before?.claims ?? []
    for (const claim of old) {
      this.#unlink(claim)
      dirty.delete(claim)
      if (claim.reason === undefined) for (const other of this.#rivals(claim)) dirty.add(other)
    }
    this.#peers.delete(node)
    if (lease !== undefined && !this.#isSelf(lease)) this.#peers.set(node, this.#peer(lease, old, dirty))
    return [...old, ...(this.#peers.get(node)?.claims ?? [])].map(({ subnet }) => subnet.publicIp)
  }

  #peer(lease: Lease, old: readonly Claim[], dirty: Set<Claim>): Peer {
    const { node } = lease
    // A reservation that no node has taken up leads nowhere, and stands in no peer's way.
    const unused = lease.backendType === '' ? 'it is reserved, and no node has taken it yet' : undefined
    const claims = lease.subnets.map((subnet): Claim => {
      const before = old.find(claim => claim.subnet.prefix === subnet.prefix)
      const unsound = unused ?? this.#unsound(subnet)
      const holds = before !== undefined && before.reason === undefined
      const reason = unsound ?? (holds ? undefined : 'not judged yet')
      const claim = { node, order: before?.order ?? this.#claims++, subnet, reason }
      if (unsound === undefined) this.#link(claim)
      if (unsound === undefined && !holds) dirty.add(claim)
      return claim
    })
    return { lease, claims }
  }

  #link(claim: Claim): void {
    const { prefix, publicIp } = claim.subnet
    this.#prefixes.add(prefix, claim)
    const nodes = this.#publicIps.get(publicIp)
    if (nodes === undefined) this.#publicIps.set(publicIp, new Set([claim.node]))
    else nodes.add(claim.node)
  }

  #unlink(claim: Claim): void {
    const { prefix, publicIp } = claim.subnet
    this.#prefixes.delete(prefix, claim)
    const nodes = this.#publicIps.get(publicIp)
    nodes?.delete(claim.node)
    if (nodes?.size === 0) this.#publicIps.delete(publicIp)
  }

  /** A claim that is let in stays; of the others, the first to come gets what nothing holds. */
  #judge(dirty: Set<Claim>, touched: Set<string>): void {
    for (const claim of [...dirty].sort((a, b) => a.order - b.order)) {
      const before = claim.reason
      if (before === undefined) continue
      claim.reason = this.#standsBehind(claim)
      if (claim.reason !== before) touched.add(claim.node)
    }
  }

  /** Which claim that is let in has what this one wants; undefined where none does. */
  #standsBehind(claim: Claim): string | undefined {
    for (const { node, subnet, reason } of this.#rivals(claim))
      if (reason === undefined)
        return `subnet ${claim.subnet.prefix} overlaps ${subnet.prefix} of '${node}', which had it first: remove whichever of the two leases is stale`
    return undefined
  }

  /** Sound claims to the same addresses, this one among them. */
  #rivals({ subnet }: Claim): Iterable<Claim> {
    return this.#prefixes.overlapping(subnet.prefix)
  }

  /** What is wrong with a subnet whoever else there is; undefined where nothing is. */
  #unsound({ prefix, publicIp }: Subnet): string | undefined {
    const family = familyOf(prefix)
    const network = this.#network.families.find(it => it.family === family)?.network
    if (network === undefined)
      return `subnet ${prefix} is ${family}, which the network does not have: enable it or restart that node's agent`
    if (!contains(network, prefix))
      return `subnet ${prefix} is outside of the network ${network}: that node runs with another network config`
    const remedy = "set that node's --public-ip or --iface"
    if (contains(prefix, publicIp))
      return `public IP ${publicIp} lies in the subnet ${prefix} that it leads to: ${remedy}`
    return (
      this.#takesOurs({ prefix, publicIp }, remedy) ??
      this.#takesFromHost({ prefix, publicIp }, network, remedy) ??
      (couldBeLeased(this.#network, prefix)
        ? undefined
        : `subnet ${prefix} is more than a quarter of the network ${network}, which no lease can be: delete it`)
    )
  }

  /** Why the host would lose a network or reach the wrong machine; undefined where neither. */
  #takesFromHost(
    { prefix, publicIp }: Pick<Subnet, 'prefix' | 'publicIp'>,
    network: Prefix,
    remedy: string,
  ): string | undefined {
    const host = hostNetworkUnder(prefix, this.#host)
    if (host !== undefined)
      return `subnet ${prefix} overlaps ${host.prefix}, which ${host.use}: give that node a subnet outside of it`
    const trouble = this.#host.addresses.has(publicIp)
      ? 'is an address of this host'
      : publicIpTrouble(publicIp, network, this.#host)
    return trouble && `public IP ${publicIp} of ${prefix} ${trouble}: ${remedy}`
  }

  /** Why this node's own lease cannot stand beside a peer's: both ask for the same subnet or public IP. */
  rivalry(peer: Lease): string | undefined {
    if (this.#isSelf(peer)) return undefined
    for (const subnet of peer.subnets) {
      const reason = this.#takesOurs(subnet, 'one of the two nodes must change it')
      if (reason !== undefined) return `node ${peer.node}: ${reason}`
    }
    return undefined
  }

  #takesOurs({ prefix, publicIp }: Pick<Subnet, 'prefix' | 'publicIp'>, remedy: string): string | undefined {
    for (const own of this.#self?.subnets ?? []) {
      if (overlaps(own.prefix, prefix))
        return `subnet ${prefix} overlaps our own ${own.prefix}: remove whichever of the two leases is stale`
      if (own.publicIp === publicIp) return `public IP ${publicIp} of ${prefix} is our own: ${remedy}`
      if (contains(own.prefix, publicIp))
        return `public IP ${publicIp} of ${prefix} lies in our own subnet ${own.prefix}: ${remedy}`
    }
    return undefined
  }

  /** By name; or by all that a lease is about, as an earlier life of this node may have it under another key. */
  #isSelf(lease: Lease): boolean {
    const self = this.#self
    if (self === undefined) return false
    const isOurs = ({ prefix, publicIp }: Subnet) =>
      self.subnets.some(own => own.prefix === prefix && own.publicIp === publicIp)
    return lease.node === self.node || lease.subnets.every(isOurs)
  }

  #share(ip: Ip): void {
    const nodes = this.#publicIps.get(ip)
    if (nodes === undefined || nodes.size < 2) this.#shared.delete(ip)
    else this.#shared.set(ip, [...nodes])
  }

  #settle(node: string): void {
    const peer = this.#peers.get(node)
    const good = peer?.claims.filter(claim => claim.reason === undefined) ?? []
    const bad = peer?.claims.filter(claim => claim.reason !== undefined) ?? []
    if (peer === undefined || good.length === 0) this.#admitted.delete(node)
    else if (bad.length === 0) this.#admitted.set(node, peer.lease)
    else this.#admitted.set(node, { ...peer.lease, subnets: good.map(claim => claim.subnet) })
    if (bad.length === 0) this.#refused.delete(node)
    else this.#refused.set(node, bad.map(claim => claim.reason).join('; '))
  }
}

/** Nodes by their lease's age, then by name; those that have none left come first. */
function byAge(nodes: Iterable<string>, table: LeaseTable): readonly string[] {
  const since = (node: string) => table.get(node)?.since ?? Number.NEGATIVE_INFINITY
  return [...nodes].sort((a, b) => since(a) - since(b) || (a < b ? -1 : Number(a > b)))
}

function identity({ node, subnets }: Lease): string {
  return [node, ...subnets.flatMap(({ prefix, publicIp }) => [prefix, publicIp])].join(' ')
}
