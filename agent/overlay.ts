import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Log } from '../lease/common/log.ts'
import type { Retrier } from '../lease/common/retry.ts'
import { sleep } from '../lease/common/sleep.ts'
import { runTogether } from '../lease/common/tasks.ts'
import { WakeUp } from '../lease/common/wake_up.ts'
import type { Lease, LeaseTableChange } from '../lease/lease.ts'
import type { Prefix } from '../lease/net/prefix.ts'
import type { NetworkConfig } from '../lease/network_config/network_config.ts'
import type { LeaseStore } from '../lease/store.ts'
import type { Backend, Underlay } from './backend/backend.ts'
import type { NodeView } from './diagnose/node_view.ts'
import { staleRoutes } from './diagnose/stale_routes.ts'
import type { HostSide } from './host_side/host_side.ts'
import { NodeNow } from './host_side/node_now.ts'
import type { Kernel, Scope } from './kernel/kernel.ts'
import { Membership } from './membership/membership.ts'
import type { OwnLease } from './membership/own_lease.ts'
import { Reconciler } from './reconcile/reconciler.ts'
import type { Round } from './reconcile/round.ts'
import { OverlayLog } from './status/log/overlay_log.ts'
import { isReady, type OverlayStatus, overlayChecks, overlayStatus } from './status/overlay_status.ts'
import type { RoundTotals } from './status/status.ts'
import { isSameWay, type Reviewed, UnderlayFollower } from './underlay/underlay_follower.ts'
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
  /**
   * Subnets of routes that stood at the start; empty where no network of the host overlaps the pod network.
   */
  readonly standing: ReadonlySet<Prefix>
  readonly rounds: RoundTotals
  readonly resyncMs: number
  readonly host: HostSide
  /** Set when a change of the lease, the firewall or the node files may make this node ready or unready. */
  readonly stateChanged: WakeUp
  /** Retries what failed because this host ran out of a resource, such as file descriptors. */
  readonly retrier: Retrier
  /** Called once traffic can flow. */
  readonly onReady: (signal: AbortSignal) => Promise<void>
  readonly log: Log
}

const FOLLOW = 'follow kernel changes'
const REVIEW = 'read the interfaces'
const PROGRAM = 'program the kernel'

/** A node that has its lease. Follows the leases, the underlay and the kernel, each in its own task. */
export class Overlay {
  readonly #options: OverlayOptions
  readonly #membership: Membership
  readonly #reconciler: Reconciler
  readonly #log: OverlayLog
  readonly #follower: UnderlayFollower
  readonly #node: NodeNow
  readonly #tableSeen = new WakeUp()
  #firstPassDone = false
  #hasListened = false

  constructor(options: OverlayOptions) {
    const { ownLease, underlay, store, kernel, scope, resyncMs, host, log } = options
    this.#options = options
    this.#membership = new Membership({
      ...options,
      underlay: ownLease.underlay,
      hostNetworks: own => underlay.hostNetworks(own),
      reporter: store.reporter,
      onPublicIp: ip => host.peerChanged(ip),
    })
    this.#log = new OverlayLog(log)
    this.#node = new NodeNow({ ...options, membership: this.#membership })
    const { desired, peers } = this.#membership
    this.#follower = new UnderlayFollower(underlay, () => peers.nextAge())
    const onRound = (round: Round) => this.#onRound(round)
    this.#reconciler = new Reconciler({ kernel, scope, desired, resyncMs, onRound })
  }

  run(signal: AbortSignal): Promise<void> {
    const { ownLease, host } = this.#options
    return runTogether(signal, [
      all => this.#followLeases(all),
      all => this.#log.run(this.#membership, all),
      // Listens before the first review and the first pass read the kernel: no later change is missed.
      all => this.#persist(FOLLOW, () => this.#followKernel(all), all),
      all => this.#persist(REVIEW, () => this.#follower.run(reviewed => this.#onReview(reviewed), all), all),
      all => this.#reconcile(all),
      all => ownLease.keep(lease => this.#setSelf(lease), all),
      all => host.run(this.#node, all),
      all => this.#announce(all),
      all => this.#membership.reportConflicts(all),
    ])
  }

  status(): OverlayStatus {
    return overlayStatus(this.#parts())
  }

  /** The facts from which this node's documents are built. */
  view(): Omit<NodeView, 'storeKind'> {
    const { network, backend, ownLease } = this.#options
    const { self, leases, refused, desired } = this.#membership
    return { network, backend, self, underlay: ownLease.underlay, leases, refused, desired }
  }

  /** Checks and repairs everything soon, on an operator's request. */
  refresh(reason: string): void {
    this.#reconciler.requestFullPass(reason)
    this.#follower.review()
    this.#options.host.review(this.#node.cniConfig.families)
  }

  /** As `refresh`, and resolves after a full pass that began after this call. */
  async repair(reason: string, signal: AbortSignal): Promise<void> {
    const passed = this.#reconciler.fullPass(reason, signal)
    this.refresh(reason)
    this.#reconciler.retryFailing()
    await passed
  }

  async #followLeases(signal: AbortSignal): Promise<void> {
    for await (const change of this.#options.store.watch(signal)) await this.#takeLeases(change)
  }

  async #takeLeases(change: LeaseTableChange): Promise<void> {
    const keys = this.#membership.setTable(change)
    this.#options.rounds.joins.storeChanged(keys)
    this.#program(keys)
    this.#tableSeen.set()
    // Program the kernel first: a round that is due sends its requests before the event loop's next turn.
    await nextTurn()
    this.#log.peers(change, this.#membership.self.node)
    this.#membership.noteConflicts(change)
    this.#reconsiderOwnLease(change)
    this.#options.stateChanged.set()
  }

  /** To call after each change of a peer's lease, our own lease or the underlay: each may admit or refuse. */
  #program(keys: ReadonlySet<string>): void {
    this.#reconciler.touch(keys)
    this.#options.host.reviewTunnel()
    this.#log.judged()
  }

  /** Our own key changed in the table: a lost lease may be free again. */
  #reconsiderOwnLease({ changed }: LeaseTableChange): void {
    if (changed.has(this.#membership.self.node)) this.#options.ownLease.reconsider()
  }

  /** Restarts a task that failed because this host ran out of a resource. */
  #persist(activity: string, task: () => Promise<never>, signal: AbortSignal): Promise<never> {
    return this.#options.retrier.until(activity, task, signal)
  }

  #reportWorking(activity: string): void {
    this.#options.retrier.over(activity)
    this.#options.stateChanged.set()
  }

  async #followKernel(signal: AbortSignal): Promise<never> {
    const { kernel, scope } = this.#options
    const changes = kernel.changes(scope, signal)
    // The kernel sent no notification of changes while the socket was closed.
    if (this.#hasListened) {
      this.#reconciler.requestFullPass('the notification socket was opened again')
      this.#follower.review()
    }
    this.#hasListened = true
    this.#reportWorking(FOLLOW)
    for await (const change of changes) {
      this.#reconciler.observe(change)
      if (!change.underlay) continue
      this.#follower.hear()
      this.#options.host.hostWatch.review()
    }
    throw signal.reason
  }

  #onReview({ moved, heard }: Reviewed): void {
    if (moved !== undefined) this.#move(moved)
    this.#program(this.#membership.reviewHost(heard))
    this.#reconciler.retryFailing()
    this.#reportWorking(REVIEW)
  }

  /** Publishes a new public IP to the peers. The devices follow at once, also while the store is away. */
  #move(underlay: Underlay): void {
    const { ownLease } = this.#options
    if (!isSameWay(ownLease.underlay, underlay)) this.#options.store.reconnect?.()
    ownLease.move(underlay)
    this.#program(this.#membership.setSelf(this.#membership.self, underlay))
    this.#reconciler.requestFullPass('the underlay has changed')
    this.#options.host.files.review()
  }

  #setSelf(self: Lease): void {
    this.#program(this.#membership.setSelf(self, this.#options.ownLease.underlay))
    this.#reconciler.requestFullPass('this node has another lease')
    this.#options.host.setSubnets(this.#node.cniConfig.families)
  }

  /** Prunes nothing before the first complete lease table: the first pass waits for it. */
  async #reconcile(signal: AbortSignal): Promise<void> {
    await this.#tableSeen.wait(Number.POSITIVE_INFINITY, signal)
    await this.#persist(PROGRAM, () => this.#reconciler.run(signal), signal)
  }

  #onRound(round: Round): void {
    this.#options.rounds.add(round)
    this.#log.round(round, this.#reconciler.attempts)
    this.#reportWorking(PROGRAM)
    if (round.fullPass === undefined || this.#firstPassDone) return
    this.#firstPassDone = true
    const { underlay, ownLease, network, host } = this.#options
    const { name } = ownLease.underlay
    this.#log.staleRoutes(staleRoutes(underlay.facts.routes, network, name, this.#membership.desired))
    host.programmed()
    this.#options.stateChanged.set()
  }

  /** Tells the cluster's operator once that traffic can flow. */
  async #announce(signal: AbortSignal): Promise<void> {
    while (!isReady(overlayChecks(this.#parts())))
      await this.#options.stateChanged.wait(Number.POSITIVE_INFINITY, signal)
    await this.#options.onReady(signal)
    await sleep(Number.POSITIVE_INFINITY, signal)
  }

  #parts() {
    const { network, ownLease, underlay, host } = this.#options
    return {
      network,
      ownLease,
      underlay,
      host,
      membership: this.#membership,
      reconciler: this.#reconciler,
      firstPassDone: this.#firstPassDone,
    }
  }
}
