import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../lease/common/log.ts'
import type { Retrier } from '../lease/common/retry.ts'
import { sleep } from '../lease/common/sleep.ts'
import { runTogether } from '../lease/common/tasks.ts'
import { WakeUp } from '../lease/common/wake_up.ts'
import { type HostNetworks, hostNetworkUnder } from '../lease/host_networks.ts'
import type { Lease, LeaseTableChange } from '../lease/lease.ts'
import type { NetworkConfig } from '../lease/network_config.ts'
import { nodeSubnets } from '../lease/node_subnets.ts'
import type { LeaseStore } from '../lease/store.ts'
import type { Backend } from './backend/backend.ts'
import { bridgeTrouble } from './diagnose/bridge_subnet.ts'
import type { NodeView } from './diagnose/node_view.ts'
import { staleRoutes } from './diagnose/stale_routes.ts'
import type { Firewall } from './firewall/firewall.ts'
import type { Kernel, Scope } from './kernel/kernel.ts'
import { Rivals } from './membership/conflicts.ts'
import type { OwnLease } from './membership/own_lease.ts'
import { Peers, SELF } from './membership/peers.ts'
import type { CniConfig } from './node_files/cni_config.ts'
import type { NodeFiles } from './node_files/node_files.ts'
import { PassBudget } from './reconcile/pass_budget.ts'
import { Reconciler } from './reconcile/reconciler.ts'
import type { Round } from './reconcile/round.ts'
import { entryKey } from './state/print.ts'
import { ContestLog } from './status/contest_log.ts'
import { PeerLog } from './status/peer_log.ts'
import { RoundLog } from './status/round_log.ts'
import type { AgentStatus, RoundTotals } from './status/status.ts'
import type { UnderlayChoice } from './underlay/underlay.ts'
import type { UnderlayWatch } from './underlay/underlay_watch.ts'

export interface OverlayOptions {
  readonly store: LeaseStore
  readonly network: NetworkConfig
  readonly backend: Backend
  readonly kernel: Kernel
  readonly scope: Scope
  readonly ownLease: OwnLease
  readonly underlay: UnderlayWatch
  readonly self: Lease
  readonly rounds: RoundTotals
  readonly resyncMs: number
  readonly files: NodeFiles
  readonly firewall: Firewall
  /** Set after each change of what keeps this node from being ready, by the lease, the firewall and the files. */
  readonly stateChanged: WakeUp
  /** For what this host may run out of, file descriptors for one. */
  readonly retrier: Retrier
  /** Called once traffic can flow. */
  readonly onReady: (signal: AbortSignal) => Promise<void>
  readonly log: Log
}

/** So many stale routes are named at once. */
const NAMED_ROUTES = 20

const FOLLOW = 'follow the changes of the kernel'
const REVIEW = 'look at the interfaces'
const PROGRAM = 'program the kernel'

/** A node that has its lease: follows the leases, the underlay and the kernel, each in a task of its own. */
export class Overlay {
  readonly #options: OverlayOptions
  readonly #peers: Peers
  readonly #reconciler: Reconciler
  readonly #roundLog: RoundLog
  readonly #contestLog: ContestLog
  readonly #peerLog: PeerLog
  readonly #programmed = new WakeUp()
  readonly #underlayChanged = new WakeUp()
  readonly #rivals: Rivals
  #self: Lease
  #host: HostNetworks | undefined
  #leases: LeaseTableChange = { table: new Map(), changed: new Set(), problems: [] }
  #tableSeen = new WakeUp()
  #firstPassDone = false
  #hasListened = false

  constructor(options: OverlayOptions) {
    const { network, backend, self, ownLease, kernel, scope, resyncMs, log } = options
    this.#options = options
    this.#self = self
    this.#peers = new Peers(network, backend, self, ownLease.underlay, (node, error) =>
      log.error(
        { node, err: error },
        'a peer could not be derived from its lease: refused, please report this',
      ),
    )
    this.#host = this.#hostNetworks()
    this.#peers.setHost(this.#host)
    this.#roundLog = new RoundLog(log)
    this.#contestLog = new ContestLog(log)
    this.#peerLog = new PeerLog(log)
    this.#rivals = new Rivals(options.store.reporter)
    const desired = this.#peers.state.entries
    this.#reconciler = new Reconciler({
      kernel,
      scope,
      desired,
      resyncMs,
      onRound: round => this.#onRound(round),
    })
  }

  run(signal: AbortSignal): Promise<void> {
    const { ownLease } = this.#options
    return runTogether(signal, [
      all => this.#followLeases(all),
      // Before the underlay is reviewed and the first pass looks: what changes afterwards is told.
      all => this.#persist(FOLLOW, () => this.#followKernel(all), all),
      all => this.#persist(REVIEW, () => this.#followUnderlay(all), all),
      all => this.#reconcile(all),
      all => ownLease.keep(lease => this.#setSelf(lease), all),
      all => this.#options.firewall.keep(all),
      all => this.#keepFiles(all),
      all => this.#announce(all),
      all => this.#rivals.tell(() => this.#self.node, all),
    ])
  }

  status(): Pick<AgentStatus, 'notReady' | 'lease' | 'peers' | 'refused' | 'failing' | 'contested'> {
    const { refused, contested } = this.#reconciler.attempts
    return {
      notReady: this.#notReady(),
      lease: this.#self,
      peers: this.#peers.count,
      refused: this.#refused(),
      failing: Array.from(refused, ([key, { error }]) => ({ key, error: error.message })),
      contested: Array.from(contested.values(), ({ entries }) => entries),
    }
  }

  /** What the documents of this node are made from. */
  view(): Omit<NodeView, 'storeKind'> {
    const { network, backend, ownLease } = this.#options
    return {
      network,
      backend,
      self: this.#self,
      underlay: ownLease.underlay,
      leases: this.#leases,
      refused: this.#refused(),
      desired: this.#peers.state.entries,
    }
  }

  /** An operator asks for a look at everything. */
  refresh(reason: string): void {
    const { firewall, files } = this.#options
    this.#reconciler.requestFullPass(reason)
    this.#underlayChanged.set()
    firewall.setOverlay(this.#cniConfig().families)
    files.review()
  }

  async #followLeases(signal: AbortSignal): Promise<void> {
    for await (const change of this.#options.store.watch(signal)) {
      this.#program(change)
      this.#logPeers(change)
      this.#logRefused()
      this.#reportConflicts(change)
      this.#reconsiderOwnLease(change)
      this.#tableSeen.set()
    }
  }

  #program(leases: LeaseTableChange): void {
    this.#leases = leases
    this.#reconciler.touch(this.#peers.setTable(leases.table, leases.changed))
  }

  #logPeers({ table, changed }: LeaseTableChange): void {
    this.#peerLog.write(table, changed, this.#self.node)
    this.#peerLog.writeShared(this.#peers.shared)
  }

  /** After each change of a lease, of our own lease and of the underlay: each of them may refuse a peer, or no longer. */
  #logRefused(): void {
    this.#peerLog.writeRefused(this.#refused(), this.#leases.problems)
  }

  #reportConflicts({ changed }: LeaseTableChange): void {
    for (const node of changed) this.#rivals.see(node, this.#peers.rivalry(node))
  }

  /** The table's word on our own key has changed: a lost lease may be free again. */
  #reconsiderOwnLease({ changed }: LeaseTableChange): void {
    if (changed.has(this.#self.node)) this.#options.ownLease.reconsider()
  }

  /** Starts a task again that failed because this host has run out of something. */
  #persist(activity: string, task: () => Promise<never>, signal: AbortSignal): Promise<never> {
    return this.#options.retrier.until(activity, task, signal)
  }

  /** The task works. */
  #works(activity: string): void {
    this.#options.retrier.over(activity)
    this.#options.stateChanged.set()
  }

  async #followKernel(signal: AbortSignal): Promise<never> {
    const { kernel, scope } = this.#options
    const changes = kernel.changes(scope, signal)
    // What changed while no socket listened was not told.
    if (this.#hasListened) {
      this.#reconciler.requestFullPass('the notification socket was opened again')
      this.#underlayChanged.set()
    }
    this.#hasListened = true
    this.#works(FOLLOW)
    for await (const change of changes) {
      this.#reconciler.observe(change)
      if (change.underlay) this.#underlayChanged.set()
    }
    throw signal.reason
  }

  /** Reviewed at once, for it was chosen before anybody listened, and after each change, but not for ever in a row. */
  async #followUnderlay(signal: AbortSignal): Promise<never> {
    const { underlay, ownLease } = this.#options
    const budget = new PassBudget()
    for (;;) {
      const waitMs = budget.waitMs(performance.now())
      if (waitMs > 0) await sleep(waitMs, signal)
      budget.spend(performance.now())
      const moved = await underlay.review(signal)
      if (moved !== undefined) this.#move(moved, ownLease)
      this.#reviewHost()
      this.#reconciler.retryFailing()
      this.#works(REVIEW)
      await this.#underlayChanged.wait(underlay.againInMs, signal)
    }
  }

  /** Peers are told of a new public IP; the devices follow at once, whatever the store does. */
  #move(underlay: UnderlayChoice, ownLease: OwnLease): void {
    this.#options.store.reconnect?.()
    ownLease.move(underlay)
    this.#reconciler.touch(this.#peers.setSelf(this.#self, underlay))
    this.#logRefused()
    this.#reconciler.requestFullPass('the underlay has changed')
    this.#options.files.review()
  }

  /** No peer is programmed over a network that the host has now, and one that it had holds up none. */
  #reviewHost(): void {
    const host = this.#hostNetworks()
    if (isDeepStrictEqual(host, this.#host)) return
    this.#host = host
    this.#reconciler.touch(this.#peers.setHost(host))
    this.#logRefused()
  }

  #hostNetworks(): HostNetworks {
    return this.#options.underlay.hostNetworks(this.#self.subnets.map(({ prefix }) => prefix))
  }

  /** A subnet that was not chosen here, a podCIDR or a lease of an earlier life, may lie over the host's own networks. */
  #takenFromHost(): string | undefined {
    for (const { prefix } of this.#self.subnets) {
      const host = this.#host && hostNetworkUnder(prefix, this.#host)
      if (host !== undefined)
        return `this node's subnet ${prefix} overlaps ${host.prefix}, which ${host.use}: pods and host need different addresses; change the network config or this node's subnet`
    }
    return undefined
  }

  #setSelf(self: Lease): void {
    this.#self = self
    this.#reviewHost()
    this.#reconciler.touch(this.#peers.setSelf(self, this.#options.ownLease.underlay))
    this.#logRefused()
    this.#reconciler.requestFullPass('this node has another lease')
    this.#options.firewall.setOverlay(this.#cniConfig().families)
    this.#options.files.review()
  }

  /** Nothing is pruned for want of knowledge: the first pass waits for the first complete table. */
  async #reconcile(signal: AbortSignal): Promise<void> {
    await this.#tableSeen.wait(Number.POSITIVE_INFINITY, signal)
    const run = async () => {
      // A round that failed has forgotten what it was about.
      if (this.#firstPassDone) this.#reconciler.requestFullPass('the last round failed')
      return await this.#reconciler.run(signal)
    }
    await this.#persist(PROGRAM, run, signal)
  }

  #onRound(round: Round): void {
    this.#options.rounds.add(round)
    const { refused, contested } = this.#reconciler.attempts
    this.#roundLog.write(round, refused)
    this.#contestLog.write(contested)
    this.#works(PROGRAM)
    if (this.#firstPassDone || round.fullPass === undefined) return
    this.#firstPassDone = true
    this.#nameStaleRoutes()
    this.#programmed.set()
    this.#options.stateChanged.set()
  }

  #nameStaleRoutes(): void {
    const { underlay, ownLease, network, log } = this.#options
    const { name } = ownLease.underlay
    const stale = staleRoutes(underlay.routes, network, name, this.#peers.state.entries)
    if (stale.length === 0) return
    const routes = stale.slice(0, NAMED_ROUTES).map(({ dst, via, dev }) => `${dst} via ${via} dev ${dev}`)
    log.warn(
      { stale: stale.length, routes },
      'routes into the network that lead to no peer: a former flanneld or another program added them; they are left alone',
    )
  }

  /** Written once pods can use them: after the first pass, and with the rules that masquerade. */
  async #keepFiles(signal: AbortSignal): Promise<never> {
    const { files, firewall } = this.#options
    await this.#programmed.wait(Number.POSITIVE_INFINITY, signal)
    await firewall.standing(signal)
    return await files.keep(() => this.#cniConfig(), signal)
  }

  #cniConfig(): CniConfig {
    const { network, backend, ownLease } = this.#options
    return { families: nodeSubnets(network, this.#self), overlayMtu: backend.overlayMtu(ownLease.underlay) }
  }

  /** Tells who runs the cluster once that traffic can flow. */
  async #announce(signal: AbortSignal): Promise<void> {
    while (this.#notReady().length > 0)
      await this.#options.stateChanged.wait(Number.POSITIVE_INFINITY, signal)
    await this.#options.onReady(signal)
    await sleep(Number.POSITIVE_INFINITY, signal)
  }

  #notReady(): string[] {
    const { ownLease, underlay, firewall, files, network } = this.#options
    if (!this.#firstPassDone) return ['waiting for the first complete lease table']
    const failing = this.#reconciler.attempts.refused
    const own = this.#peers.state.entriesOf(SELF).flatMap(entry => {
      const error = failing.get(entryKey(entry))?.error
      return error === undefined ? [] : [error.message]
    })
    return [
      ...own,
      ownLease.trouble,
      this.#peers.trouble,
      this.#takenFromHost(),
      bridgeTrouble(underlay.interfaces, network, this.#self),
      underlay.trouble,
      firewall.trouble,
      files.trouble,
    ].filter(reason => reason !== undefined)
  }

  #refused(): ReadonlyMap<string, string> {
    return new Map([
      ...this.#peers.refused,
      ...this.#leases.problems.map(({ key, reason }): [string, string] => [key, reason]),
    ])
  }
}
