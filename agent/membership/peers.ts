import { Admission } from '../../lease/admission/admission.ts'
import type { HostNetworks } from '../../lease/admission/host_networks.ts'
import { isSameBackendData } from '../../lease/backend_data.ts'
import { isUnexpected, messageOf } from '../../lease/common/errors.ts'
import { type Lease, type LeaseTable, printLease, type Subnet } from '../../lease/lease.ts'
import { familyOf, type Ip } from '../../lease/net/ip.ts'
import type { Mac } from '../../lease/net/mac.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import type { Backend, Underlay } from '../backend/backend.ts'
import { DesiredState } from '../state/desired.ts'
import type { Entry } from '../state/entry.ts'
import { printEntry } from '../state/print.ts'
import { DerivedLeases } from './derived_leases.ts'

/** Owner of this node's own entries in a DesiredState; no lease's name, which are never empty. */
export const SELF = ''

/**
 * Derives desired entries from leases, one peer at a time: a change costs what changed. A peer that is
 * refused, by the rules for all leases or by the backend, is kept with the reason, and judged again when it
 * or its obstacle changes.
 */
export class Peers {
  readonly state = new DesiredState()
  readonly #backend: Backend
  readonly #admission: Admission
  readonly #refused = new Map<string, string>()
  /** Peers refused for what another peer has: they get it when that one goes, in order of arrival. */
  readonly #contending = new Set<string>()
  /** Leases as they were derived: a peer that changed its address or MAC has no older right to it. */
  readonly #derived: DerivedLeases
  /** Peers with this node's own VTEP MAC that had it before this node: other nodes send to them. */
  readonly #ahead = new Set<string>()
  #isFirstTable = true
  readonly #onUnexpected: (node: string, error: unknown) => void
  #self: Lease
  #underlay: Underlay
  #table: LeaseTable = new Map()

  /**
   * `onUnexpected`: a peer was refused for an error that this code did not expect. `standing`: subnets that
   * are programmed already. `onPublicIp`: this one may have come to a peer in `state`, or have gone from the last.
   */
  constructor(
    network: NetworkConfig,
    backend: Backend,
    self: Lease,
    underlay: Underlay,
    onUnexpected: (node: string, error: unknown) => void = () => {},
    standing: ReadonlySet<Prefix> = new Set(),
    onPublicIp: (ip: Ip) => void = () => {},
  ) {
    this.#backend = backend
    this.#onUnexpected = onUnexpected
    this.#admission = new Admission(network, standing)
    this.#derived = new DerivedLeases(onPublicIp)
    this.#self = self
    this.#underlay = underlay
    this.state.set(SELF, backend.ownEntries(self, underlay), new Set())
  }

  /** How many peers have entries in `state`. */
  get count(): number {
    return this.state.owners(SELF)
  }

  /** Of the peers that have entries in `state`. */
  get publicIps(): ReadonlySet<Ip> {
    return this.#derived.publicIps
  }

  /** Whether it is one of `publicIps`: costs the same among thousands of peers. */
  hasPublicIp(ip: Ip): boolean {
    return this.#admission.nodesAt(ip).some(node => this.#derived.hasPublicIp(node, ip))
  }

  /** Why each refused peer, or a part of it, is not programmed. */
  get refused(): ReadonlyMap<string, string> {
    return new Map([...this.#admission.refused, ...this.#refused])
  }

  /** Public IPs that several peers have, and which. */
  get shared(): ReadonlyMap<Ip, readonly string[]> {
    return this.#admission.shared
  }

  /** Which of the host's own networks are not reached, as peers had their addresses first. */
  get overHost(): readonly string[] {
    return this.#admission.overHost
  }

  /** Why other nodes do not send to this one; undefined where they do. */
  get trouble(): string | undefined {
    for (const node of this.#ahead) {
      const mac = this.#sharedMac(node)
      const peer = this.#table.get(node)
      if (peer && mac)
        return `this node's VTEP MAC ${mac} is also that of '${node}' (${printLease(peer)}), which had it first, so other nodes send there: was this host cloned? Stop the agent, delete its flannel device and its lease cache, and start it again; if '${node}' is this host's former name, remove that one's lease or Node`
    }
    return undefined
  }

  /** Why this node's own lease cannot stand beside that peer's; undefined where it can. */
  conflictWith(node: string): string | undefined {
    const peer = this.#table.get(node)
    return peer && this.#admission.conflictWith(peer)
  }

  /**
   * Another lease or underlay of our own: everything is derived again. Returns the keys that may be wrong
   * now.
   */
  setSelf(self: Lease, underlay: Underlay): ReadonlySet<string> {
    const touched = new Set<string>()
    this.#self = self
    this.#underlay = underlay
    this.#admission.update(self, this.#table, this.#table.keys())
    const held = [...this.#derived.keys()]
    for (const node of held) this.#forget(node, touched)
    this.state.set(SELF, this.#backend.ownEntries(self, underlay), touched)
    this.#derive([...held, ...this.#contending, ...this.#table.keys()], touched)
    return touched
  }

  /** See Admission.nextAge. */
  nextAge(): number {
    return this.#admission.nextAge()
  }

  /**
   * The host has other networks of its own: all peers are judged again. `heard`: as for Admission.setHost.
   * Returns the keys that may be wrong now.
   */
  setHost(host: HostNetworks, heard?: number): ReadonlySet<string> {
    this.#admission.setHost(host, heard)
    return this.setTable(this.#table, new Set())
  }

  /** What changed in the table. Returns the keys that may be wrong now. */
  setTable(table: LeaseTable, changed: ReadonlySet<string>): ReadonlySet<string> {
    const touched = new Set<string>()
    this.#table = table
    if (this.#isFirstTable && changed.size > 0) this.#meetOlder()
    const affected = this.#admission.update(this.#self, table, changed).changed
    for (const node of affected) {
      const before = this.#derived.get(node)
      const peer = this.#admission.admitted.get(node)
      if (before === undefined || (peer !== undefined && isSameTunnel(before, peer))) continue
      this.#forget(node, touched)
    }
    const stay = [...affected].filter(node => this.#derived.has(node))
    // Only what a programmed peer gives up or changes can become free for another.
    const waiting = touched.size + stay.length > 0 ? this.#contending : []
    this.#derive([...stay, ...waiting, ...affected], touched)
    return touched
  }

  /** Which older leases have this node's MAC: one that takes it later is refused by the others. */
  #meetOlder(): void {
    this.#isFirstTable = false
    for (const { node, since } of this.#table.values())
      if (node !== this.#self.node && since < this.#self.since && this.#sharedMac(node)) this.#ahead.add(node)
  }

  #sharedMac(node: string): Mac | undefined {
    const peer = this.#table.get(node)
    if (peer === undefined) return undefined
    const theirs = this.#backend.publishedMacs(peer)
    const isApart = ({ publicIp }: Subnet) => !this.#self.subnets.some(own => own.publicIp === publicIp)
    // A lease that this host left under another name leads here.
    if (!peer.subnets.some(isApart)) return undefined
    return this.#backend.publishedMacs(this.#self).find((mac, i) => mac !== undefined && mac === theirs[i])
  }

  /** In the order of the nodes: of two that want one MAC, the first has it. */
  #derive(nodes: Iterable<string>, touched: Set<string>): void {
    for (const node of new Set(nodes)) {
      const peer = this.#admission.admitted.get(node)
      if (peer === undefined) this.#forget(node, touched)
      else this.#derivePeer(peer, touched)
    }
  }

  #derivePeer(peer: Lease, touched: Set<string>): void {
    this.#contending.delete(peer.node)
    const entries = this.#entriesFor(peer)
    const reason = typeof entries === 'string' ? entries : this.#contended(peer, entries)
    if (typeof entries !== 'string' && reason === undefined) {
      this.#refused.delete(peer.node)
      this.#derived.set(peer.node, peer)
      this.state.set(peer.node, entries, touched)
    } else {
      this.#refused.set(peer.node, reason ?? '')
      this.#derived.delete(peer.node)
      this.state.set(peer.node, [], touched)
    }
  }

  /** Or why there are none. Whatever goes wrong with one peer refuses that one alone. */
  #entriesFor(peer: Lease): readonly Entry[] | string {
    try {
      return this.#backend.peerEntries(this.#self, peer, this.#underlay)
    } catch (error) {
      if (isUnexpected(error)) this.#onUnexpected(peer.node, error)
      return messageOf(error)
    }
  }

  #forget(node: string, touched: Set<string>): void {
    this.#refused.delete(node)
    this.#contending.delete(node)
    this.#derived.delete(node)
    this.state.set(node, [], touched)
  }

  /** Which other peer, or this node, has what this one asks for; undefined where none does. */
  #contended(peer: Lease, entries: readonly Entry[]): string | undefined {
    const [conflict] = this.state.conflicts(peer.node, entries)
    if (conflict === undefined) return undefined
    this.#contending.add(peer.node)
    const name = conflict.owner === SELF ? 'this node' : `'${conflict.owner}'`
    return `it asks for ${printEntry(conflict.entry)}, and ${name} had that first`
  }
}

/** Whether a peer is reached as before: its public IPs and what it publishes for its backend. */
function isSameTunnel(a: Lease, b: Lease): boolean {
  return a.subnets.every(({ publicIp, backendData, prefix }) => {
    const other = b.subnets.find(it => familyOf(it.prefix) === familyOf(prefix))
    return (
      other === undefined ||
      (other.publicIp === publicIp && isSameBackendData(other.backendData, backendData))
    )
  })
}
