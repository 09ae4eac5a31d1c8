import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../lease/common/log.ts'
import type { Retrier } from '../lease/common/retry.ts'
import { sleep } from '../lease/common/sleep.ts'
import { runTogether } from '../lease/common/tasks.ts'
import { WakeUp } from '../lease/common/wake_up.ts'
import type { Lease, LeaseTableChange } from '../lease/lease.ts'
import type { Ip } from '../lease/net/ip.ts'
import type { NetworkConfig } from '../lease/network_config.ts'
import { nodeSubnets } from '../lease/node_subnets.ts'
import type { LeaseStore } from '../lease/store.ts'
import type { Backend, Underlay } from './backend/backend.ts'
import { bridgeTrouble } from './diagnose/bridge_subnet.ts'
import type { NodeView } from './diagnose/node_view.ts'
import { staleRoutes } from './diagnose/stale_routes.ts'
import type { Firewall } from './firewall/firewall.ts'
import type { Kernel, Scope } from './kernel/kernel.ts'
import { Membership } from './membership/membership.ts'
import type { OwnLease } from './membership/own_lease.ts'
import type { CniConfig } from './node_files/cni_config.ts'
import type { NodeFiles } from './node_files/node_files.ts'
import { answerProbes } from './probe/responder.ts'
import { PassBudget } from './reconcile/pass_budget.ts'
import { Reconciler } from './reconcile/reconciler.ts'
import type { Round } from './reconcile/round.ts'
import { entryKey } from './state/print.ts'
import { brokenByHost, type HostWatch } from './status/host_watch.ts'
import { OverlayLog } from './status/overlay_log.ts'
import { type AgentStatus, type Check, check, type RoundTotals } from './status/status.ts'
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
  /** Undefined: peers' probes are not answered. */
  readonly probePort: number | undefined
  readonly files: NodeFiles
  readonly hostWatch: HostWatch
  readonly firewall: Firewall
  /** Set after each change of what keeps this node from being ready, by the lease, the firewall and the files. */
  readonly stateChanged: WakeUp
  /** For what this host may run out of, file descriptors for one. */
  readonly retrier: Retrier
  /** Called once traffic can flow. */
  readonly onReady: (signal: AbortSignal) => Promise<void>
  readonly log: Log
}

const FOLLOW = 'follow the changes of the kernel'
const REVIEW = 'look at the interfaces'
const PROGRAM = 'program the kernel'

/** A node that has its lease: follows the leases, the underlay and the kernel, each in a task of its own. */
export class Overlay {
  readonly #options: OverlayOptions
  readonly #membership: Membership
  readonly #reconciler: Reconciler
  readonly #log: OverlayLog
  readonly #tableSeen = new WakeUp()
  readonly #programmed = new WakeUp()
  readonly #underlayChanged = new WakeUp()
  #firstPassDone = false
  #hasListened = false

  constructor(options: OverlayOptions) {
    const { ownLease, underlay, store, kernel, scope, resyncMs, log } = options
    this.#options = options
    this.#membership = new Membership({
      ...options,
      underlay: ownLease.underlay,
      hostNetworks: own => underlay.hostNetworks(own),
      reporter: store.reporter,
    })
    this.#log = new OverlayLog(log)
    const { desired } = this.#membership
    const onRound = (round: Round) => this.#onRound(round)
    this.#reconciler = new Reconciler({ kernel, scope, desired, resyncMs, onRound })
  }

  run(signal: AbortSignal): Promise<void> {
    const { ownLease } = this.#options
    const { probePort } = this.#options
    return runTogether(signal, [
      all => this.#followLeases(all),
      // Before the underlay is reviewed and the first pass looks: what changes afterwards is told.
      all => this.#persist(FOLLOW, () => this.#followKernel(all), all),
      all => this.#persist(REVIEW, () => this.#followUnderlay(all), all),
      all => this.#reconcile(all),
      all => ownLease.keep(lease => this.#setSelf(lease), all),
      all => this.#options.firewall.keep(all),
      all => this.#keepFiles(all),
      all => this.#watchHost(all),
      all => this.#announce(all),
      all => this.#membership.tell(all),
      ...(probePort === undefined ? [] : [(all: AbortSignal) => this.#answerProbes(probePort, all)]),
    ])
  }

  status(): Pick<
    AgentStatus,
    'notReady' | 'checks' | 'findings' | 'lease' | 'peers' | 'refused' | 'failing' | 'contested' | 'roundMs'
  > {
    const { refused, contested } = this.#reconciler.attempts
    const checks = this.#checks()
    return {
      notReady: checks.flatMap(({ reasons }) => reasons),
      checks,
      roundMs: this.#reconciler.roundMs,
      findings: this.#options.hostWatch.findings,
      lease: this.#membership.self,
      peers: this.#membership.peers.count,
      refused: this.#membership.refused,
      failing: Array.from(refused, ([key, { error }]) => ({ key, error: error.message })),
      contested: Array.from(contested.values(), ({ entries }) => entries),
    }
  }

  /** What the documents of this node are made from. */
  view(): Omit<NodeView, 'storeKind'> {
    const { network, backend, ownLease } = this.#options
    const { self, leases, refused, desired } = this.#membership
    return { network, backend, self, underlay: ownLease.underlay, leases, refused, desired }
  }

  /** An operator asks for a look at everything. */
  refresh(reason: string): void {
    const { firewall, files } = this.#options
    this.#reconciler.requestFullPass(reason)
    this.#underlayChanged.set()
    this.#options.hostWatch.review()
    firewall.setOverlay(this.#cniConfig().families)
    files.review()
  }

  async #followLeases(signal: AbortSignal): Promise<void> {
    for await (const change of this.#options.store.watch(signal)) {
      const keys = this.#membership.setTable(change)
      this.#options.rounds.joins.heard(keys)
      this.#program(keys)
      this.#logPeers(change)
      this.#membership.seeConflicts(change)
      this.#reconsiderOwnLease(change)
      this.#tableSeen.set()
      this.#options.stateChanged.set()
    }
  }

  /** After each change of a lease, of our own lease and of the underlay: each may refuse a peer, or no longer. */
  #program(keys: ReadonlySet<string>): void {
    this.#reconciler.touch(keys)
    this.#log.refused(this.#membership.refused, this.#membership.leases.problems)
  }

  #logPeers(change: LeaseTableChange): void {
    this.#log.peers(change, this.#membership.self.node, this.#membership.peers.shared)
  }

  /** The table's word on our own key has changed: a lost lease may be free again. */
  #reconsiderOwnLease({ changed }: LeaseTableChange): void {
    if (changed.has(this.#membership.self.node)) this.#options.ownLease.reconsider()
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
      if (!change.underlay) continue
      this.#underlayChanged.set()
      this.#options.hostWatch.review()
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
      this.#program(this.#membership.reviewHost())
      this.#reconciler.retryFailing()
      this.#works(REVIEW)
      await this.#underlayChanged.wait(underlay.againInMs, signal)
    }
  }

  /** Peers are told of a new public IP; the devices follow at once, whatever the store does. */
  #move(underlay: UnderlayChoice, ownLease: OwnLease): void {
    if (!isSameWay(ownLease.underlay, underlay)) this.#options.store.reconnect?.()
    ownLease.move(underlay)
    this.#program(this.#membership.setSelf(this.#membership.self, underlay))
    this.#reconciler.requestFullPass('the underlay has changed')
    this.#options.files.review()
  }

  #setSelf(self: Lease): void {
    this.#program(this.#membership.setSelf(self, this.#options.ownLease.underlay))
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
    this.#log.round(round, this.#reconciler.attempts)
    this.#works(PROGRAM)
    if (this.#firstPassDone || round.fullPass === undefined) return
    this.#firstPassDone = true
    this.#nameStaleRoutes()
    this.#programmed.set()
    this.#options.stateChanged.set()
  }

  #nameStaleRoutes(): void {
    const { underlay, ownLease, network } = this.#options
    const { name } = ownLease.underlay
    this.#log.staleRoutes(staleRoutes(underlay.routes, network, name, this.#membership.desired))
  }

  /** Written once pods can use them: after the first pass, and with the rules that masquerade. */
  async #keepFiles(signal: AbortSignal): Promise<never> {
    const { files, firewall } = this.#options
    await this.#programmed.wait(Number.POSITIVE_INFINITY, signal)
    await firewall.standing(signal)
    return await files.keep(() => this.#cniConfig(), signal)
  }

  /** On this node's addresses in the overlay, which its own devices have. */
  async #answerProbes(port: number, signal: AbortSignal): Promise<never> {
    const { scope, log } = this.#options
    const addresses = () =>
      this.#membership.ownEntries.flatMap(entry => (entry.kind === 'address' ? [entry.address] : []))
    const isPeer = (address: Ip) =>
      scope.devices.some(dev => this.#membership.desired.has(`neighbor ${address} dev ${dev}`))
    return await answerProbes({ port, addresses, isPeer, log }, signal)
  }

  /** From the first full pass on: before, what is missing is no finding. */
  async #watchHost(signal: AbortSignal): Promise<never> {
    await this.#programmed.wait(Number.POSITIVE_INFINITY, signal)
    return await this.#options.hostWatch.run(signal)
  }

  #cniConfig(): CniConfig {
    const { network, backend, ownLease } = this.#options
    return {
      families: nodeSubnets(network, this.#membership.self),
      overlayMtu: backend.overlayMtu(ownLease.underlay),
    }
  }

  /** Tells who runs the cluster once that traffic can flow. */
  async #announce(signal: AbortSignal): Promise<void> {
    while (this.#checks().some(({ reasons }) => reasons.length > 0))
      await this.#options.stateChanged.wait(Number.POSITIVE_INFINITY, signal)
    await this.#options.onReady(signal)
    await sleep(Number.POSITIVE_INFINITY, signal)
  }

  #checks(): readonly Check[] {
    const { ownLease, underlay, firewall, files, network, hostWatch } = this.#options
    if (!this.#firstPassDone) return [check('start', 'waiting for the first complete lease table')]
    const failing = this.#reconciler.attempts.refused
    const own = this.#membership.ownEntries.map(entry => failing.get(entryKey(entry))?.error.message)
    return [
      check('device', ...own),
      check('lease', ownLease.trouble),
      check('peers', ...this.#membership.troubles),
      check('bridge', bridgeTrouble(underlay.interfaces, network, this.#membership.self)),
      check('underlay', underlay.trouble),
      check('firewall', firewall.trouble),
      check('files', files.trouble),
      check('host', ...brokenByHost(hostWatch.findings)),
    ]
  }
}

/** Whether connections that were made over the one go on over the other: a second address or another prefix harms none. */
function isSameWay(a: Underlay, b: Underlay): boolean {
  return a.name === b.name && isDeepStrictEqual(a.localIps, b.localIps)
}
