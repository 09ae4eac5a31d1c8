import { Admission } from '../../lease/admission/admission.ts'
import type { HostNetworks } from '../../lease/admission/host_networks.ts'
import { isSameBackendData } from '../../lease/backend_data.ts'
import { isUnexpected, messageOf } from '../../lease/common/errors.ts'
import { type Lease, type LeaseTable, printLease, type Subnet, subnetOf } from '../../lease/lease.ts'
import { familyOf, type Ip } from '../../lease/net/ip.ts'
import type { Mac } from '../../lease/net/mac.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import type { Backend, Underlay } from '../backend/backend.ts'
import { DesiredState } from '../state/desired.ts'
import type { Entry } from '../state/entry.ts'
import { printEntry } from '../state/print.ts'
import { DerivedLeases } from './derived_leases.ts'

/** Owner of this node's own entries in a DesiredState. No lease has this name: no node's name is empty. */
export const SELF = ''

/**
 * Derives entries from leases, one peer at a time, so that a change costs what changed. Keeps the reason of a
 * refused peer, and judges it again when its lease or the cause changes.
 */
export class Peers {
  readonly state = new DesiredState()
  readonly #backend: Backend
  readonly #admission: Admission
  readonly #refused = new Map<string, string>()
  /** Refused because another peer has an entry that they ask for; they get it in order of arrival. */
  readonly #contending = new Set<string>()
  /** Leases that entries derive from: a peer with a new address or MAC has no older claim to these. */
  readonly #derived: DerivedLeases
  /** Peers that had this node's VTEP MAC before this node: other nodes send this node's packets to them. */
  readonly #olderMacHolders = new Set<string>()
  #isFirstTable = true
  readonly #onUnexpected: (node: string, error: unknown) => void
  #self: Lease
  #underlay: Underlay
  #table: LeaseTable = new Map()

  /**
   * `onUnexpected`: deriving a peer's entries failed unexpectedly. `standing`: subnets with routes in the
   * kernel. `onPublicIp`: a peer in `state` may have got this public IP, or the last such peer lost it.
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

  get count(): number {
    return this.state.owners(SELF)
  }

  get publicIps(): ReadonlySet<Ip> {
    return this.#derived.publicIps
  }

  /** Whether `ip` is one of `publicIps`, at a cost that does not grow with the number of peers. */
  hasPublicIp(ip: Ip): boolean {
    return this.#admission.nodesAt(ip).some(node => this.#derived.hasPublicIp(node, ip))
  }

  get refused(): ReadonlyMap<string, string> {
    return new Map([...this.#admission.refused, ...this.#refused])
  }

  get shared(): ReadonlyMap<Ip, readonly string[]> {
    return this.#admission.shared
  }

  /** Host networks that this node cannot reach because peers had these addresses first. */
  get overHost(): readonly string[] {
    return this.#admission.overHost
  }

  /** Why other nodes do not send to this one; undefined where they do. */
  get trouble(): string | undefined {
    for (const node of this.#olderMacHolders) {
      const mac = this.#sharedMac(node)
      const peer = this.#table.get(node)
      if (peer && mac)
        return `this node's VTEP MAC ${mac} is also that of '${node}' (${printLease(peer)}), which had it first, so other nodes send there: was this host cloned? Stop the agent, delete its flannel device and its lease cache, and start it again; if '${node}' is this host's former name, remove that one's lease or Node`
    }
    return undefined
  }

  conflictWith(node: string): string | undefined {
    const peer = this.#table.get(node)
    return peer && this.#admission.conflictWith(peer)
  }

  /** Derives everything again for another own lease or underlay. Returns the keys that may be wrong now. */
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

  nextAge(): number {
    return this.#admission.nextAge()
  }

  /** `heard`: as for Admission.setHost. Returns the keys that may be wrong now. */
  setHost(host: HostNetworks, heard?: number): ReadonlySet<string> {
    this.#admission.setHost(host, heard)
    return this.setTable(this.#table, new Set())
  }

  setTable(table: LeaseTable, changed: ReadonlySet<string>): ReadonlySet<string> {
    const touched = new Set<string>()
    this.#table = table
    if (this.#isFirstTable && changed.size > 0) this.#noteOlderMacHolders()
    const affected = this.#admission.update(this.#self, table, changed)
    for (const node of affected) {
      const before = this.#derived.get(node)
      const peer = this.#admission.admitted.get(node)
      if (before === undefined || (peer !== undefined && isSameTunnel(before, peer))) continue
      this.#forget(node, touched)
    }
    const stay = [...affected].filter(node => this.#derived.has(node))
    // A waiting peer can get an entry only when a programmed peer gives one up or changes.
    const waiting = touched.size + stay.length > 0 ? this.#contending : []
    this.#derive([...stay, ...waiting, ...affected], touched)
    return touched
  }

  /** Notes older leases with this node's MAC: peers accept those, and refuse the lease that took it later. */
  #noteOlderMacHolders(): void {
    this.#isFirstTable = false
    for (const { node, since } of this.#table.values())
      if (node !== this.#self.node && since < this.#self.since && this.#sharedMac(node))
        this.#olderMacHolders.add(node)
  }

  #sharedMac(node: string): Mac | undefined {
    const peer = this.#table.get(node)
    if (peer === undefined) return undefined
    const theirs = this.#backend.publishedMacs(peer)
    const isApart = ({ publicIp }: Subnet) => !this.#self.subnets.some(own => own.publicIp === publicIp)
    // This host left that lease under a former name: its packets still arrive here.
    if (!peer.subnets.some(isApart)) return undefined
    return this.#backend.publishedMacs(this.#self).find((mac, i) => mac !== undefined && mac === theirs[i])
  }

  /** Derives in the given order: of two peers that want one MAC, the first gets it. */
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

  /** The peer's entries, or why there are none: an error with one peer refuses only that peer. */
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

  /** Names the peer, or this node, that already has an entry which this peer asks for; or undefined. */
  #contended(peer: Lease, entries: readonly Entry[]): string | undefined {
    const [conflict] = this.state.conflicts(peer.node, entries)
    if (conflict === undefined) return undefined
    this.#contending.add(peer.node)
    const name = conflict.owner === SELF ? 'this node' : `'${conflict.owner}'`
    return `it asks for ${printEntry(conflict.entry)}, and ${name} had that first`
  }
}

/** Whether public IPs and backend data are equal, so that existing tunnel entries stay right. */
function isSameTunnel(a: Lease, b: Lease): boolean {
  return a.subnets.every(({ publicIp, backendData, prefix }) => {
    const other = subnetOf(b, familyOf(prefix))
    return (
      other === undefined ||
      (other.publicIp === publicIp && isSameBackendData(other.backendData, backendData))
    )
  })
}
