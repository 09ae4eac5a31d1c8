import type { Lease, LeaseTable, Subnet } from '../lease.ts'
import type { Ip } from '../net/ip.ts'
import type { Prefix } from '../net/prefix.ts'
import { PrefixIndex } from '../net/prefix_index.ts'
import type { NetworkConfig } from '../network_config/network_config.ts'
import { ClaimedIps } from './claimed_ips.ts'
import type { HostNetworks } from './host_networks.ts'
import { BEFORE_START, HostPriority } from './host_priority.ts'
import { ShareRules } from './share_rules.ts'

/** One family's share of a peer's lease, and why it is not let in: undefined where it is. */
interface Claim {
  readonly node: string
  /** Which claim was seen first; those of one table by age. */
  readonly order: number
  readonly subnet: Subnet
  /** When it was let in, counted as `order`; undefined where it is not. */
  heldSince: number | undefined
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
 * The same holds between a peer and the host's own networks: a network that the host is given later does not cut off a peer that is
 * programmed, unless this node itself is reached by it. `overHost` names both.
 * What it costs depends on what changed and what that stood in the way of, not on how many peers there are.
 */
export class Admission {
  /** Peers with at least one family let in, with those families alone. Live: it changes with `update`. */
  readonly admitted: ReadonlyMap<string, Lease>
  /** Why a peer, or one of its families, is not let in. Live, as `admitted`; a peer can be in both. */
  readonly refused: ReadonlyMap<string, string>
  /** Public IPs that several leases have, and in which. Live, as `admitted`. */
  readonly shared: ReadonlyMap<Ip, readonly string[]>

  readonly #admitted = new Map<string, Lease>()
  readonly #refused = new Map<string, string>()
  #peers = new Map<string, Peer>()
  /** Claims that are sound by themselves. */
  #prefixes = new PrefixIndex<Claim>()
  readonly #publicIps = new ClaimedIps()
  #claims = 0
  readonly #rules: ShareRules
  readonly #host: HostPriority
  #hostChanged = false
  /** Subnets that were programmed before this process: none of the host's networks came before them. */
  #standing: ReadonlySet<Prefix>

  /** `now` is monotonic, in ms. */
  constructor(
    network: NetworkConfig,
    standing: ReadonlySet<Prefix> = new Set(),
    now: () => number = () => performance.now(),
  ) {
    this.#standing = standing
    this.#host = new HostPriority(now)
    this.#rules = new ShareRules(network, this.#host, () => this.#claims++)
    this.admitted = this.#admitted
    this.refused = this.#refused
    this.shared = this.#publicIps.shared
  }

  /** An age between those of the claims that were let in before and after this call. */
  nextAge(): number {
    return this.#claims++
  }

  /**
   * The host's own networks from the next `update` on, which then judges all peers again. `heard`: the age at which it was
   * heard that they may have changed, where it was.
   */
  setHost(host: HostNetworks, heard?: number): void {
    this.#host.set(host, heard)
    this.#hostChanged = true
  }

  /** The nodes whose lease, let in or not, is sound and has this public IP. */
  nodesAt(ip: Ip): readonly string[] {
    return this.#publicIps.nodesAt(ip)
  }

  /** Which of the host's own networks are not reached, as peers that are programmed had their addresses first: some of them, in words. */
  get overHost(): readonly string[] {
    return this.#host.lostTo(prefix => [...this.#prefixes.overlapping(prefix)].filter(isHeld))
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
    const all =
      this.#hostChanged || this.#rules.self === undefined || identity(this.#rules.self) !== identity(self)
    this.#rules.self = self
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
    for (const ip of publicIps) this.#publicIps.settle(ip)
    if (table.size > 0) this.#standing = new Set()
    return { changed: touched }
  }

  #forget(touched: Set<string>): void {
    for (const node of this.#peers.keys()) touched.add(node)
    this.#peers = new Map()
    this.#prefixes = new PrefixIndex()
    this.#publicIps.clear()
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
      if (claim.reason === undefined) for (const other of this.#claimants(claim)) dirty.add(other)
    }
    this.#peers.delete(node)
    if (lease !== undefined && !this.#rules.isSelf(lease))
      this.#peers.set(node, this.#peer(lease, old, dirty))
    return [...old, ...(this.#peers.get(node)?.claims ?? [])].map(({ subnet }) => subnet.publicIp)
  }

  #peer(lease: Lease, old: readonly Claim[], dirty: Set<Claim>): Peer {
    const { node } = lease
    // A reservation that no node has taken up leads nowhere, and stands in no peer's way.
    const unused = lease.backendType === '' ? 'it is reserved, and no node has taken it yet' : undefined
    const claims = lease.subnets.map((subnet): Claim => {
      const before = old.find(claim => claim.subnet.prefix === subnet.prefix)
      const heldSince = before?.heldSince ?? (this.#standing.has(subnet.prefix) ? BEFORE_START : undefined)
      const unsound = unused ?? this.#rules.unsound(subnet, heldSince)
      const holds = before !== undefined && before.reason === undefined
      const reason = unsound ?? (holds ? undefined : 'not judged yet')
      const order = before?.order ?? this.#claims++
      const claim = { node, order, subnet, heldSince: unsound === undefined ? heldSince : undefined, reason }
      if (unsound === undefined) this.#link(claim)
      if (unsound === undefined && !holds) dirty.add(claim)
      return claim
    })
    return { lease, claims }
  }

  #link(claim: Claim): void {
    const { prefix, publicIp } = claim.subnet
    this.#prefixes.add(prefix, claim)
    this.#publicIps.add(publicIp, claim.node)
  }

  #unlink(claim: Claim): void {
    const { prefix, publicIp } = claim.subnet
    this.#prefixes.delete(prefix, claim)
    this.#publicIps.delete(publicIp, claim.node)
  }

  /** A claim that is let in stays; of the others, the first to come gets what nothing holds. */
  #judge(dirty: Set<Claim>, touched: Set<string>): void {
    for (const claim of [...dirty].sort((a, b) => a.order - b.order)) {
      const before = claim.reason
      if (before === undefined) continue
      claim.reason = this.#standsBehind(claim)
      claim.heldSince = claim.reason === undefined ? (claim.heldSince ?? this.#claims++) : undefined
      if (claim.reason !== before) touched.add(claim.node)
    }
  }

  /** Which claim that is let in has what this one wants; undefined where none does. */
  #standsBehind(claim: Claim): string | undefined {
    for (const { node, subnet, reason } of this.#claimants(claim))
      if (reason === undefined)
        return `subnet ${claim.subnet.prefix} overlaps ${subnet.prefix} of '${node}', which had it first: remove whichever of the two leases is stale`
    return undefined
  }

  /** Sound claims to the same addresses, this one among them. */
  #claimants({ subnet }: Claim): Iterable<Claim> {
    return this.#prefixes.overlapping(subnet.prefix)
  }

  /** Why this node's own lease cannot stand beside a peer's: both ask for the same subnet or public IP. */
  conflictWith(peer: Lease): string | undefined {
    if (this.#rules.isSelf(peer)) return undefined
    for (const subnet of peer.subnets) {
      const reason = this.#rules.takesOurs(subnet, 'one of the two nodes must change it')
      if (reason !== undefined) return `node ${peer.node}: ${reason}`
    }
    return undefined
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

function isHeld({ reason }: Claim): boolean {
  return reason === undefined
}

/** Nodes by their lease's age, then by name; those that have none left come first. */
function byAge(nodes: Iterable<string>, table: LeaseTable): readonly string[] {
  const since = (node: string) => table.get(node)?.since ?? Number.NEGATIVE_INFINITY
  return [...nodes].sort((a, b) => since(a) - since(b) || (a < b ? -1 : Number(a > b)))
}

function identity({ node, subnets }: Lease): string {
  return [node, ...subnets.flatMap(({ prefix, publicIp }) => [prefix, publicIp])].join(' ')
}
