import type { Lease, LeaseProblem } from '../lease/lease.ts'
import type { Log } from '../lease/log.ts'
import { familyOf } from '../lease/net/ip.ts'
import type { NetworkConfig } from '../lease/network_config.ts'
import type { LeaseStore } from '../lease/store.ts'
import type { Backend } from './backend/backend.ts'
import type { Kernel, Scope } from './kernel/kernel.ts'
import type { OwnLease } from './own_lease.ts'
import { PeerLog } from './peer_log.ts'
import { Peers, SELF } from './peers.ts'
import { Reconciler, type Round } from './reconcile/reconciler.ts'
import { WakeUp } from './reconcile/wake_up.ts'
import { RoundLog } from './round_log.ts'
import { entryKey } from './state/print.ts'
import type { AgentStatus, RoundTotals } from './status.ts'
import { renderSubnetEnv, SubnetEnvError, writeSubnetEnv } from './subnet_env.ts'
import { runTogether } from './tasks.ts'
import type { UnderlayChoice } from './underlay.ts'
import type { UnderlayWatch } from './underlay_watch.ts'

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
  readonly subnetFile: string
  readonly ipMasq: boolean
  readonly log: Log
}

/** How long to wait before subnet.env is tried again, where it could not be written. */
const SUBNET_ENV_RETRY_MS = 5_000

/** A node that has its lease: follows the leases, the underlay and the kernel, each in a task of its own. */
export class Overlay {
  readonly #options: OverlayOptions
  readonly #peers: Peers
  readonly #reconciler: Reconciler
  readonly #roundLog: RoundLog
  readonly #peerLog: PeerLog
  readonly #subnetEnvDue = new WakeUp()
  readonly #programmed = new WakeUp()
  #self: Lease
  #problems: readonly LeaseProblem[] = []
  #tableSeen = new WakeUp()
  #firstPassDone = false
  #subnetEnvTrouble: string | undefined = 'subnet.env is not written yet'

  constructor(options: OverlayOptions) {
    const { network, backend, self, ownLease, kernel, scope, resyncMs, log } = options
    this.#options = options
    this.#self = self
    this.#peers = new Peers(network, backend, self, ownLease.underlay)
    this.#roundLog = new RoundLog(log)
    this.#peerLog = new PeerLog(log)
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
      all => this.#followKernel(all),
      all => this.#reconcile(all),
      all => ownLease.keep(lease => this.#setSelf(lease), all),
      all => this.#keepSubnetEnv(all),
      all => this.#announce(all),
    ])
  }

  status(): Pick<AgentStatus, 'notReady' | 'lease' | 'peers' | 'refused' | 'failing' | 'contested'> {
    const { failing, contested } = this.#reconciler.attempts
    return {
      notReady: this.#notReady(),
      lease: this.#self,
      peers: this.#peers.count,
      refused: this.#refused(),
      failing: Array.from(failing, ([key, { error }]) => ({ key, error: error?.message ?? '' })),
      contested: [...contested.keys()],
    }
  }

  async #followLeases(signal: AbortSignal): Promise<void> {
    const { store, ownLease } = this.#options
    for await (const { table, changed, problems } of store.watch(signal)) {
      this.#reconciler.touch(this.#peers.setTable(table, changed))
      this.#problems = problems
      this.#peerLog.write(table, changed, this.#self.node)
      this.#peerLog.writeRefused(this.#refused(), problems)
      if (changed.has(this.#self.node)) ownLease.reconsider()
      this.#tableSeen.set()
    }
  }

  async #followKernel(signal: AbortSignal): Promise<void> {
    const { kernel, scope, underlay, ownLease } = this.#options
    for await (const change of kernel.changes(scope, signal)) {
      this.#reconciler.observe(change)
      const moved = change.underlay ? await underlay.review(signal) : undefined
      if (moved !== undefined) this.#move(moved, ownLease)
    }
  }

  /** Peers are told of a new public IP; the devices follow at once, whatever the store does. */
  #move(underlay: UnderlayChoice, ownLease: OwnLease): void {
    ownLease.move(underlay)
    this.#reconciler.touch(this.#peers.setSelf(this.#self, underlay))
    this.#reconciler.requestFullPass('the underlay has changed')
    this.#subnetEnvDue.set()
  }

  #setSelf(self: Lease): void {
    this.#self = self
    this.#reconciler.touch(this.#peers.setSelf(self, this.#options.ownLease.underlay))
    this.#reconciler.requestFullPass('this node has another lease')
    this.#subnetEnvDue.set()
  }

  /** Nothing is pruned for want of knowledge: the first pass waits for the first complete table. */
  async #reconcile(signal: AbortSignal): Promise<void> {
    await this.#tableSeen.wait(Number.POSITIVE_INFINITY, signal)
    await this.#reconciler.run(signal)
  }

  #onRound(round: Round): void {
    this.#options.rounds.add(round)
    this.#roundLog.write(round)
    if (this.#firstPassDone || round.fullPass === undefined) return
    this.#firstPassDone = true
    this.#subnetEnvDue.set()
  }

  /** Written once pods can use it: after the first pass. */
  async #keepSubnetEnv(signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.#subnetEnvDue.wait(this.#retryMs(), signal)
      if (!this.#firstPassDone) continue
      await this.#writeSubnetEnv(signal)
      this.#programmed.set()
    }
  }

  #retryMs(): number {
    return this.#firstPassDone && this.#subnetEnvTrouble !== undefined
      ? SUBNET_ENV_RETRY_MS
      : Number.POSITIVE_INFINITY
  }

  async #writeSubnetEnv(signal: AbortSignal): Promise<void> {
    const { backend, ownLease, subnetFile, ipMasq, log } = this.#options
    const families = this.#options.network.families.flatMap(({ family, network }) => {
      const subnet = this.#self.subnets.find(({ prefix }) => familyOf(prefix) === family)
      return subnet === undefined ? [] : [{ network, subnet: subnet.prefix }]
    })
    const overlayMtu = backend.overlayMtu(ownLease.underlay)
    try {
      const written = await writeSubnetEnv(
        subnetFile,
        renderSubnetEnv({ families, overlayMtu, ipMasq }),
        signal,
      )
      if (written) log.info({ file: subnetFile, overlayMtu }, 'subnet.env written')
      this.#subnetEnvTrouble = undefined
    } catch (error) {
      if (!(error instanceof SubnetEnvError)) throw error
      if (this.#subnetEnvTrouble !== error.message)
        log.error({ againInMs: SUBNET_ENV_RETRY_MS }, error.message)
      this.#subnetEnvTrouble = error.message
    }
  }

  /** Tells who runs the cluster once that traffic can flow. */
  async #announce(signal: AbortSignal): Promise<void> {
    do await this.#programmed.wait(Number.POSITIVE_INFINITY, signal)
    while (this.#notReady().length > 0)
    await this.#options.store.reporter?.announceReady(signal)
    await new Promise((_, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
    )
  }

  #notReady(): string[] {
    const { ownLease, underlay } = this.#options
    if (!this.#firstPassDone) return ['waiting for the first complete lease table']
    const failing = this.#reconciler.attempts.failing
    const own = this.#peers.state.entriesOf(SELF).flatMap(entry => {
      const error = failing.get(entryKey(entry))?.error
      return error === undefined ? [] : [error.message]
    })
    return [...own, ownLease.trouble, underlay.trouble, this.#subnetEnvTrouble].filter(
      reason => reason !== undefined,
    )
  }

  #refused(): ReadonlyMap<string, string> {
    return new Map([
      ...this.#peers.refused,
      ...this.#problems.map(({ key, reason }): [string, string] => [key, reason]),
    ])
  }
}
