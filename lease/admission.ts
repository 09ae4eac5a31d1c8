import { couldBeLeased } from './allocate.ts'
import { type HostNetworks, hostNetworkUnder, noHostNetworks } from './host_networks.ts'
import type { Lease, LeaseTable, Subnet } from './lease.ts'
import { familyOf } from './net/ip.ts'
import { contains, overlaps, type Prefix } from './net/prefix.ts'
import { PrefixIndex } from './net/prefix_index.ts'
import type { NetworkConfig } from './network_config.ts'
import { publicIpTrouble } from './public_ip.ts'

/** One family's share of a peer's lease, and why it is not let in: undefined where it is. */
interface Claim {
  readonly node: string
  readonly since: number
  readonly subnet: Subnet
  reason: string | undefined
}

/**
 * Keeps the invariant that a lease is foreign input: what reaches a backend lies inside the network, overlaps neither our
 * own subnets nor another peer's, and is sent to an address that can be a peer's. One public IP in two leases is no conflict:
 * a host that was given another's address must not be cut off by what that one left.
 *
 * Where two peers claim the same, the older (by `since`, then by name) has it, unless it is refused itself; when it goes,
 * the younger is let in. A claim is one family's: a peer with one bad family keeps the other. What it costs depends on what
 * changed and what that stood in the way of, not on how many peers there are.
 */
export class Admission {
  /** Peers with at least one family let in, with those families alone. Live: it changes with `update`. */
  readonly admitted: ReadonlyMap<string, Lease>
  /** Why a peer, or one of its families, is not let in. Live, as `admitted`; a peer can be in both. */
  readonly refused: ReadonlyMap<string, string>

  readonly #network: NetworkConfig
  readonly #admitted = new Map<string, Lease>()
  readonly #refused = new Map<string, string>()
  readonly #peers = new Map<string, { readonly lease: Lease; readonly claims: readonly Claim[] }>()
  /** Claims that are sound by themselves. */
  #prefixes = new PrefixIndex<Claim>()
  #self: Lease | undefined
  #host: HostNetworks = noHostNetworks
  #hostChanged = false

  constructor(network: NetworkConfig) {
    this.#network = network
    this.admitted = this.#admitted
    this.refused = this.#refused
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
    if (all) this.#forget(touched)
    const dirty = new Set<Claim>()
    for (const node of all ? table.keys() : changed) {
      touched.add(node)
      this.#replace(node, table.get(node), dirty)
    }
    this.#judge(dirty, touched)
    for (const node of touched) this.#settle(node)
    return { changed: touched }
  }

  #forget(touched: Set<string>): void {
    for (const node of this.#peers.keys()) touched.add(node)
    this.#peers.clear()
    this.#prefixes = new PrefixIndex()
  }

  #replace(node: string, lease: Lease | undefined, dirty: Set<Claim>): void {
    for (const claim of this.#peers.get(node)?.claims ?? []) {
      this.#unlink(claim)
      dirty.delete(claim)
      if (claim.reason === undefined) for (const other of this.#rivals(claim)) dirty.add(other)
    }
    this.#peers.delete(node)
    if (lease === undefined || this.#isSelf(lease)) return
    // A reservation that no node has taken up leads nowhere, and stands in no peer's way.
    if (lease.backendType === '') {
      const reason = 'it is reserved, and no node has taken it yet'
      this.#peers.set(node, {
        lease,
        claims: lease.subnets.map(subnet => ({ node, since: lease.since, subnet, reason })),
      })
      return
    }
    const claims = lease.subnets.map(subnet => this.#claim(lease, subnet, dirty))
    this.#peers.set(node, { lease, claims })
  }

  #claim(lease: Lease, subnet: Subnet, dirty: Set<Claim>): Claim {
    const unsound = this.#unsound(subnet)
    const claim: Claim = { node: lease.node, since: lease.since, subnet, reason: unsound ?? 'not judged yet' }
    if (unsound !== undefined) return claim
    dirty.add(claim)
    this.#prefixes.add(subnet.prefix, claim)
    return claim
  }

  #unlink(claim: Claim): void {
    this.#prefixes.delete(claim.subnet.prefix, claim)
  }

  /** Older before younger: whatever can stand in a claim's way is settled when its turn comes. */
  #judge(dirty: Set<Claim>, touched: Set<string>): void {
    const queue = [...dirty].sort(byAge).reverse()
    for (let claim = queue.pop(); claim !== undefined; claim = queue.pop()) {
      dirty.delete(claim)
      const before = claim.reason
      claim.reason = this.#standsBehind(claim)
      if (claim.reason === before) continue
      touched.add(claim.node)
      if ((claim.reason === undefined) === (before === undefined)) continue
      for (const other of this.#rivals(claim))
        if (byAge(other, claim) > 0 && !dirty.has(other)) {
          dirty.add(other)
          enqueue(queue, other)
        }
    }
  }

  /** Which older claim that is let in has what this one wants; undefined where none does. */
  #standsBehind(claim: Claim): string | undefined {
    let first: Claim | undefined
    for (const other of this.#rivals(claim)) {
      const inTheWay = other.reason === undefined && byAge(other, claim) < 0
      if (inTheWay && (first === undefined || byAge(other, first) < 0)) first = other
    }
    if (first === undefined) return undefined
    const what = `subnet ${claim.subnet.prefix} overlaps ${first.subnet.prefix} of the older '${first.node}'`
    return `${what}: remove whichever of the two leases is stale`
  }

  /** Sound claims to the same addresses, this one among them; it is never older than itself. */
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

/** Below zero where `a` is the older. */
function byAge(a: Claim, b: Claim): number {
  return a.since - b.since || (a.node < b.node ? -1 : Number(a.node > b.node))
}

/** Into a queue whose oldest stands last. */
function enqueue(queue: Claim[], claim: Claim): void {
  let [low, high] = [0, queue.length]
  while (low < high) {
    const middle = (low + high) >> 1
    const at = queue[middle]
    if (at !== undefined && byAge(at, claim) > 0) low = middle + 1
    else high = middle
  }
  queue.splice(low, 0, claim)
}

function identity({ node, subnets }: Lease): string {
  return [node, ...subnets.flatMap(({ prefix, publicIp }) => [prefix, publicIp])].join(' ')
}
