import type { Lease, LeaseTable } from '../lease.ts'
import type { Ip } from '../net/ip.ts'
import type { Prefix } from '../net/prefix.ts'
import { PrefixIndex } from '../net/prefix_index.ts'
import type { NetworkConfig } from '../network_config/network_config.ts'
import { type Claim, isAdmitted, type Peer } from './claim.ts'
import { ClaimedIps } from './claimed_ips.ts'
import type { HostNetworks } from './host_networks.ts'
import { BEFORE_START, HostPriority } from './host_priority.ts'
import { ShareRules } from './share_rules.ts'

/**
 * Decides which peers' leases may be programmed. A lease is foreign input: an admitted subnet lies inside the
 * network, overlaps neither our own subnets nor an admitted peer's, and its public IP can be a peer's. The
 * same public IP in two leases is no conflict: a host may have been given the address of a node that is gone
 * and left its lease behind.
 *
 * Where two peers claim the same addresses, the admitted one stays, whatever its age, until its lease is
 * removed or names another subnet. Of peers that appear together the older is admitted (by `since`, then by
 * name). Each family is judged by itself: a peer with one refused family keeps the other. The host's own
 * networks follow the same rule: a network that the host gets later does not cut off a programmed peer,
 * unless this node itself is reached through that network. `overHost` names both.
 *
 * The cost of an update depends on what changed and on the claims that overlap it, not on the number of
 * peers.
 */
export class Admission {
  /** Peers with an admitted family, with these families alone. Live: changes with `update`. */
  readonly admitted = new Map<string, Lease>()
  /** Why a peer, or one of its families, is refused. Live, as `admitted`; a peer can be in both. */
  readonly refused = new Map<string, string>()
  readonly #publicIps = new ClaimedIps()
  /** Public IPs that several leases have, with the nodes of those leases. Live, as `admitted`. */
  readonly shared: ReadonlyMap<Ip, readonly string[]> = this.#publicIps.shared
  #peers = new Map<string, Peer>()
  /** Claims that break no rule by themselves; each may still overlap another one. */
  #prefixes = new PrefixIndex<Claim>()
  #nextOrder = 0
  readonly #rules: ShareRules
  readonly #host: HostPriority
  #hostChanged = false
  /** Subnets that an earlier process programmed: older than all of the host's networks. */
  #programmedBefore: ReadonlySet<Prefix>

  /** `programmedBefore`: subnets that an earlier process programmed. `now` is monotonic, in ms. */
  constructor(
    network: NetworkConfig,
    programmedBefore: ReadonlySet<Prefix> = new Set(),
    now: () => number = () => performance.now(),
  ) {
    this.#programmedBefore = programmedBefore
    this.#host = new HostPriority(now)
    this.#rules = new ShareRules(network, this.#host, () => this.#nextOrder++)
  }

  /** A position in the sequence: after all claims admitted before this call, before all later ones. */
  nextAge(): number {
    return this.#nextOrder++
  }

  /** The next `update` judges all peers by these. `heard`: `nextAge()` when the kernel reported a change. */
  setHost(host: HostNetworks, heard?: number): void {
    this.#host.set(host, heard)
    this.#hostChanged = true
  }

  /** The nodes that claim this public IP, admitted or not; without claims that break a rule by themselves. */
  nodesAt(ip: Ip): readonly string[] {
    return this.#publicIps.get(ip)
  }

  /** The host's networks that it cannot reach because programmed peers had them first; three at most. */
  get overHost(): readonly string[] {
    return this.#host.lostTo(prefix => [...this.#prefixes.overlapping(prefix)].filter(isAdmitted))
  }

  /**
   * Applies the changes of the table. Returns the nodes whose entry in `admitted` may differ. Judges all
   * peers at first, after `setHost`, and where `self` has other subnets.
   */
  update(self: Lease, table: LeaseTable, changed: Iterable<string>): ReadonlySet<string> {
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
    if (table.size > 0) this.#programmedBefore = new Set()
    return touched
  }

  #forget(touched: Set<string>): void {
    for (const node of this.#peers.keys()) touched.add(node)
    this.#peers = new Map()
    this.#prefixes = new PrefixIndex()
    this.#publicIps.clear()
  }

  #replace(node: string, lease: Lease | undefined, before: Peer | undefined, dirty: Set<Claim>): Ip[] {
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
    // No host answers at the public IP of an unused reservation. It must not keep a peer out either.
    const unused = lease.backendType === '' ? 'it is reserved, and no node has taken it yet' : undefined
    const claims = lease.subnets.map((subnet): Claim => {
      const before = old.find(claim => claim.subnet.prefix === subnet.prefix)
      const heldSince =
        before?.heldSince ?? (this.#programmedBefore.has(subnet.prefix) ? BEFORE_START : undefined)
      const unsound = unused ?? this.#rules.unsound(subnet, heldSince)
      const holds = before !== undefined && before.reason === undefined
      const reason = unsound ?? (holds ? undefined : 'not judged yet')
      const order = before?.order ?? this.#nextOrder++
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

  /** An admitted claim stays. Of the others the first in order gets what no admitted claim has. */
  #judge(dirty: Set<Claim>, touched: Set<string>): void {
    for (const claim of [...dirty].sort((a, b) => a.order - b.order)) {
      const before = claim.reason
      if (before === undefined) continue
      claim.reason = this.#heldByOther(claim)
      claim.heldSince = claim.reason === undefined ? (claim.heldSince ?? this.#nextOrder++) : undefined
      if (claim.reason !== before) touched.add(claim.node)
    }
  }

  #heldByOther(claim: Claim): string | undefined {
    for (const { node, subnet, reason } of this.#claimants(claim))
      if (reason === undefined)
        return `subnet ${claim.subnet.prefix} overlaps ${subnet.prefix} of '${node}', which had it first: remove whichever of the two leases is stale`
    return undefined
  }

  /** All claims in `#prefixes` that overlap this one, itself included. */
  #claimants({ subnet }: Claim): Iterable<Claim> {
    return this.#prefixes.overlapping(subnet.prefix)
  }

  /** Why this node's lease and a peer's both claim a subnet or public IP; undefined where not. */
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
    const good = peer?.claims.filter(isAdmitted) ?? []
    const bad = peer?.claims.filter(claim => !isAdmitted(claim)) ?? []
    if (peer === undefined || good.length === 0) this.admitted.delete(node)
    else if (bad.length === 0) this.admitted.set(node, peer.lease)
    else this.admitted.set(node, { ...peer.lease, subnets: good.map(claim => claim.subnet) })
    if (bad.length === 0) this.refused.delete(node)
    else this.refused.set(node, bad.map(claim => claim.reason).join('; '))
  }
}

/** Nodes by their lease's age, then by name; those without a lease come first. */
function byAge(nodes: Iterable<string>, table: LeaseTable): readonly string[] {
  const since = (node: string) => table.get(node)?.since ?? Number.NEGATIVE_INFINITY
  return [...nodes].sort((a, b) => since(a) - since(b) || (a < b ? -1 : Number(a > b)))
}

function identity({ node, subnets }: Lease): string {
  return [node, ...subnets.flatMap(({ prefix, publicIp }) => [prefix, publicIp])].join(' ')
}
