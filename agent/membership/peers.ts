import { Admission } from '../../lease/admission.ts'
import type { HostNetworks } from '../../lease/host_networks.ts'
import type { Lease, LeaseTable } from '../../lease/lease.ts'
import type { NetworkConfig } from '../../lease/network_config.ts'
import { type Backend, PeerRefusedError, type Underlay } from '../backend/backend.ts'
import { DesiredState } from '../state/desired.ts'
import type { Entry } from '../state/entry.ts'
import { printEntry } from '../state/print.ts'

/** Owner of this node's own entries in a DesiredState; no lease's name, which are never empty. */
export const SELF = ''

/**
 * From leases to desired entries, one peer at a time: a change costs what changed. A peer that is refused, by the rules of
 * all leases or by the backend, is kept with the reason and looked at again when it or what stood in its way changes.
 */
export class Peers {
  readonly state = new DesiredState()
  readonly #backend: Backend
  readonly #admission: Admission
  readonly #refused = new Map<string, string>()
  /** Those refused for what an older peer has: they get it when that one goes. */
  readonly #contending = new Set<string>()
  #self: Lease
  #underlay: Underlay
  #table: LeaseTable = new Map()

  constructor(network: NetworkConfig, backend: Backend, self: Lease, underlay: Underlay) {
    this.#backend = backend
    this.#admission = new Admission(network)
    this.#self = self
    this.#underlay = underlay
    this.state.set(SELF, backend.ownEntries(self, underlay), new Set())
  }

  /** How many peers have entries in `state`. */
  get count(): number {
    return this.state.owners(SELF)
  }

  /** Why each refused peer, or a part of it, is not programmed. */
  get refused(): ReadonlyMap<string, string> {
    return new Map([...this.#admission.refused, ...this.#refused])
  }

  /** Why this node's own lease cannot stand beside that peer's; undefined where it can. */
  rivalry(node: string): string | undefined {
    const peer = this.#table.get(node)
    return peer && this.#admission.rivalry(peer)
  }

  /** Another lease or underlay of our own: everything is derived again. Returns the keys that may be wrong now. */
  setSelf(self: Lease, underlay: Underlay): ReadonlySet<string> {
    const touched = new Set<string>()
    this.#self = self
    this.#underlay = underlay
    this.#admission.update(self, this.#table, this.#table.keys())
    for (const node of this.#table.keys()) this.state.set(node, [], touched)
    this.state.set(SELF, this.#backend.ownEntries(self, underlay), touched)
    this.#derive(this.#table.keys(), touched)
    return touched
  }

  /** The host has other networks of its own: all peers are judged again. Returns the keys that may be wrong now. */
  setHost(host: HostNetworks): ReadonlySet<string> {
    this.#admission.setHost(host)
    return this.setTable(this.#table, new Set())
  }

  /** What changed in the table. Returns the keys that may be wrong now. */
  setTable(table: LeaseTable, changed: ReadonlySet<string>): ReadonlySet<string> {
    const touched = new Set<string>()
    this.#table = table
    const affected = this.#admission.update(this.#self, table, changed).changed
    this.#derive([...affected, ...this.#contending], touched)
    return touched
  }

  #derive(nodes: Iterable<string>, touched: Set<string>): void {
    const peers: Lease[] = []
    for (const node of new Set(nodes)) {
      this.#refused.delete(node)
      this.#contending.delete(node)
      const peer = this.#admission.admitted.get(node)
      if (peer === undefined) this.state.set(node, [], touched)
      else peers.push(peer)
    }
    // Older first: where two claim one MAC, the older has it.
    for (const peer of peers.sort((a, b) => a.since - b.since)) this.#derivePeer(peer, touched)
  }

  #derivePeer(peer: Lease, touched: Set<string>): void {
    try {
      const entries = this.#backend.peerEntries(this.#self, peer, this.#underlay)
      const losers = this.#contend(peer, entries)
      for (const loser of losers) this.state.set(loser.node, [], touched)
      this.state.set(peer.node, entries, touched)
      for (const loser of losers) this.#derivePeer(loser, touched)
    } catch (error) {
      if (!(error instanceof PeerRefusedError)) throw error
      this.#refused.set(peer.node, error.message)
      this.state.set(peer.node, [], touched)
    }
  }

  /** Returns the younger peers that have to give up what this one needs; throws where another one is the older. */
  #contend(peer: Lease, entries: readonly Entry[]): ReadonlySet<Lease> {
    const losers = new Set<Lease>()
    for (const { entry, owner } of this.state.conflicts(peer.node, entries)) {
      const holder = this.#admission.admitted.get(owner)
      if (holder === undefined || holder.since <= peer.since) {
        this.#contending.add(peer.node)
        const name = owner === SELF ? 'this node' : `'${owner}'`
        throw new PeerRefusedError(`it asks for ${printEntry(entry)}, and ${name} had that first`)
      }
      losers.add(holder)
    }
    return losers
  }
}
