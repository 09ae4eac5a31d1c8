import { isDeepStrictEqual } from 'node:util'
import { type HostNetworks, hostNetworkUnder } from '../../lease/admission/host_networks.ts'
import { publicIpTrouble } from '../../lease/admission/public_ip.ts'
import type { Log } from '../../lease/common/log.ts'
import type { Lease, LeaseTableChange } from '../../lease/lease.ts'
import type { Ip } from '../../lease/net/ip.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import { type NetworkConfig, networkFor } from '../../lease/network_config/network_config.ts'
import type { NodeReporter } from '../../lease/store.ts'
import type { Backend, Underlay } from '../backend/backend.ts'
import type { Entry } from '../state/entry.ts'
import { Conflicts } from './conflicts.ts'
import { Peers, SELF } from './peers.ts'

export interface MembershipOptions {
  readonly network: NetworkConfig
  readonly backend: Backend
  readonly self: Lease
  readonly underlay: Underlay
  /** The host's own networks, for a node with these subnets. */
  readonly hostNetworks: (own: readonly Prefix[]) => HostNetworks
  /** Subnets that routes in the kernel lead to when the agent starts. */
  readonly standing: ReadonlySet<Prefix>
  readonly reporter: NodeReporter | undefined
  /** Called when a programmed peer may have got this public IP, or the last such peer may have lost it. */
  readonly onPublicIp?: (ip: Ip) => void
  readonly log: Log
}

/**
 * The network as this node sees it: its own lease, peers that may be programmed, that are refused, that are
 * in conflict with it. Each change returns the keys of the entries that may differ.
 */
export class Membership {
  readonly #network: NetworkConfig
  readonly #hostNetworks: MembershipOptions['hostNetworks']
  readonly #peers: Peers
  readonly #conflicts: Conflicts
  self: Lease
  #host: HostNetworks
  /** The last change, with the complete table. */
  leases: LeaseTableChange = { table: new Map(), changed: new Set(), problems: [] }

  constructor(options: MembershipOptions) {
    const { network, backend, self, underlay, standing, onPublicIp, log } = options
    this.#network = network
    this.#hostNetworks = options.hostNetworks
    this.self = self
    const onUnexpected = (node: string, err: unknown) =>
      log.error(
        { node, err },
        'peer refused: deriving its entries failed with an unexpected error; please report this',
      )
    this.#peers = new Peers(network, backend, self, underlay, onUnexpected, standing, onPublicIp)
    this.#conflicts = new Conflicts(options.reporter)
    this.#host = this.#readHost()
    this.#peers.setHost(this.#host)
  }

  get peers(): Pick<Peers, 'count' | 'publicIps' | 'hasPublicIp' | 'shared' | 'overHost' | 'nextAge'> {
    return this.#peers
  }

  get desired(): ReadonlyMap<string, Entry> {
    return this.#peers.state.entries
  }

  get ownEntries(): readonly Entry[] {
    return this.#peers.state.entriesOf(SELF)
  }

  get ownAddresses(): readonly Ip[] {
    return this.ownEntries.flatMap(entry => (entry.kind === 'address' ? [entry.address] : []))
  }

  /** Whether a peer that is programmed has this address inside the overlay. */
  isPeerAddress(address: Ip): boolean {
    const devices = this.ownEntries.flatMap(entry => (entry.kind === 'link' ? [entry.name] : []))
    return devices.some(dev => this.desired.has(`neighbor ${address} dev ${dev}`))
  }

  /** Why a lease, or a family of it, is not programmed, by node or by the store's key. */
  get refused(): ReadonlyMap<string, string> {
    const problems = this.leases.problems.map(({ key, reason }): [string, string] => [key, reason])
    return new Map([...this.#peers.refused, ...problems])
  }

  isProgrammed(node: string): boolean {
    return this.#peers.state.entriesOf(node).length > 0
  }

  /** Why peers cannot reach this node's pods, or why this node cannot reach some hosts. */
  get troubles(): readonly string[] {
    const { overHost } = this.#peers
    return [this.#peers.trouble, this.#takenFromHost(), ...this.#unreachable(), ...overHost].filter(
      reason => reason !== undefined,
    )
  }

  setTable(leases: LeaseTableChange): ReadonlySet<string> {
    this.leases = leases
    return this.#peers.setTable(leases.table, leases.changed)
  }

  setSelf(self: Lease, underlay: Underlay): ReadonlySet<string> {
    this.self = self
    return new Set([...this.reviewHost(), ...this.#peers.setSelf(self, underlay)])
  }

  /**
   * Judges all peers by the host's current networks; a programmed one stays, see HostPriority. `heard`:
   * `peers.nextAge()` when the kernel reported the change.
   */
  reviewHost(heard?: number): ReadonlySet<string> {
    const host = this.#readHost()
    if (isDeepStrictEqual(host, this.#host)) return new Set()
    this.#host = host
    return this.#peers.setHost(host, heard)
  }

  /** Notes which of the changed nodes are in conflict with this node; `reportConflicts` reports them. */
  noteConflicts({ changed }: LeaseTableChange): void {
    for (const node of changed) this.#conflicts.note(node, this.#peers.conflictWith(node))
  }

  reportConflicts(signal: AbortSignal): Promise<never> {
    return this.#conflicts.report(() => this.self.node, signal)
  }

  #readHost(): HostNetworks {
    return this.#hostNetworks(this.self.subnets.map(({ prefix }) => prefix))
  }

  /** Own public IPs that peers refuse: an operator can write one into the store at any time. */
  #unreachable(): readonly string[] {
    return this.self.subnets.flatMap(({ prefix, publicIp }) => {
      const family = networkFor(this.#network, prefix)
      const trouble = family && publicIpTrouble(publicIp, family.network, this.#host)
      return trouble === undefined
        ? []
        : [
            `peers refuse this node's public IP ${publicIp}: it ${trouble}; correct --public-ip, --iface or public-ip-overwrite`,
          ]
    })
  }

  /** A subnet that this agent did not choose (podCIDR, earlier lease) can overlap the host's networks. */
  #takenFromHost(): string | undefined {
    for (const { prefix } of this.self.subnets) {
      const host = hostNetworkUnder(prefix, this.#host)
      if (host !== undefined)
        return `this node's subnet ${prefix} overlaps ${host.prefix}, which ${host.use}: pods and host need different addresses; change the network config or this node's subnet`
    }
    return undefined
  }
}
