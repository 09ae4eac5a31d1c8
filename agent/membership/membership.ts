import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../../lease/common/log.ts'
import { type HostNetworks, hostNetworkUnder } from '../../lease/host_networks.ts'
import type { Lease, LeaseTableChange } from '../../lease/lease.ts'
import { familyOf } from '../../lease/net/ip.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config.ts'
import { publicIpTrouble } from '../../lease/public_ip.ts'
import type { NodeReporter } from '../../lease/store.ts'
import type { Backend, Underlay } from '../backend/backend.ts'
import type { Entry } from '../state/entry.ts'
import { Rivals } from './conflicts.ts'
import { Peers, SELF } from './peers.ts'

export interface MembershipOptions {
  readonly network: NetworkConfig
  readonly backend: Backend
  readonly self: Lease
  readonly underlay: Underlay
  /** What the host itself lives on, beside these subnets of this node. */
  readonly hostNetworks: (own: readonly Prefix[]) => HostNetworks
  readonly reporter: NodeReporter | undefined
  readonly log: Log
}

/**
 * Who is in the network, seen from this node: its own lease, the peers that may be programmed, those that are refused, and who
 * claims what this node has. Whatever changes one of them returns the keys of the entries that may differ.
 */
export class Membership {
  readonly #network: NetworkConfig
  readonly #hostNetworks: MembershipOptions['hostNetworks']
  readonly #peers: Peers
  readonly #rivals: Rivals
  #self: Lease
  #host: HostNetworks
  #leases: LeaseTableChange = { table: new Map(), changed: new Set(), problems: [] }

  constructor({ network, backend, self, underlay, hostNetworks, reporter, log }: MembershipOptions) {
    this.#network = network
    this.#hostNetworks = hostNetworks
    this.#self = self
    this.#peers = new Peers(network, backend, self, underlay, (node, error) =>
      log.error(
        { node, err: error },
        'a peer could not be derived from its lease: refused, please report this',
      ),
    )
    this.#rivals = new Rivals(reporter)
    this.#host = this.#lookAtHost()
    this.#peers.setHost(this.#host)
  }

  get self(): Lease {
    return this.#self
  }

  /** The last change, with the whole table. */
  get leases(): LeaseTableChange {
    return this.#leases
  }

  get peers(): Pick<Peers, 'count' | 'shared'> {
    return this.#peers
  }

  /** All entries that are to stand, by key. */
  get desired(): ReadonlyMap<string, Entry> {
    return this.#peers.state.entries
  }

  /** Those of this node itself: its devices and their addresses. */
  get ownEntries(): readonly Entry[] {
    return this.#peers.state.entriesOf(SELF)
  }

  /** Why a lease is not programmed, by node or key: a rule for leases, the backend, or a value that is no lease. */
  get refused(): ReadonlyMap<string, string> {
    const problems = this.#leases.problems.map(({ key, reason }): [string, string] => [key, reason])
    return new Map([...this.#peers.refused, ...problems])
  }

  /** Why pods of this node cannot be reached as things stand. */
  get troubles(): readonly string[] {
    return [this.#peers.trouble, this.#takenFromHost(), ...this.#unreachable()].filter(
      reason => reason !== undefined,
    )
  }

  setTable(leases: LeaseTableChange): ReadonlySet<string> {
    this.#leases = leases
    return this.#peers.setTable(leases.table, leases.changed)
  }

  setSelf(self: Lease, underlay: Underlay): ReadonlySet<string> {
    this.#self = self
    return new Set([...this.reviewHost(), ...this.#peers.setSelf(self, underlay)])
  }

  /** No peer is programmed over a network that the host has now, and one that it had holds up none. */
  reviewHost(): ReadonlySet<string> {
    const host = this.#lookAtHost()
    if (isDeepStrictEqual(host, this.#host)) return new Set()
    this.#host = host
    return this.#peers.setHost(host)
  }

  /** Notes which of the changed nodes claim what this node has; `tell` reports them. */
  seeConflicts({ changed }: LeaseTableChange): void {
    for (const node of changed) this.#rivals.see(node, this.#peers.rivalry(node))
  }

  /** Until the signal aborts. */
  tell(signal: AbortSignal): Promise<never> {
    return this.#rivals.tell(() => this.#self.node, signal)
  }

  #lookAtHost(): HostNetworks {
    return this.#hostNetworks(this.#self.subnets.map(({ prefix }) => prefix))
  }

  /** Public IPs that peers refuse: an operator may have put one into the store, past the checks at start. */
  #unreachable(): readonly string[] {
    return this.#self.subnets.flatMap(({ prefix, publicIp }) => {
      const family = this.#network.families.find(it => it.family === familyOf(prefix))
      const trouble = family && publicIpTrouble(publicIp, family.network, this.#host)
      return trouble === undefined
        ? []
        : [
            `peers refuse this node's public IP ${publicIp}: it ${trouble}; correct --public-ip, --iface or public-ip-overwrite`,
          ]
    })
  }

  /** A subnet that was not chosen here, a podCIDR or a lease of an earlier life, may lie over the host's own networks. */
  #takenFromHost(): string | undefined {
    for (const { prefix } of this.#self.subnets) {
      const host = hostNetworkUnder(prefix, this.#host)
      if (host !== undefined)
        return `this node's subnet ${prefix} overlaps ${host.prefix}, which ${host.use}: pods and host need different addresses; change the network config or this node's subnet`
    }
    return undefined
  }
}
