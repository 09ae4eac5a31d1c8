import type { Lease } from '../../lease/lease.ts'
import type { StoreHealth } from '../../lease/store.ts'
import type { Finding } from '../diagnose/doctor/finding.ts'
import type { NodeView } from '../diagnose/node_view.ts'
import type { Round } from '../reconcile/round.ts'
import type { Entry } from '../state/entry.ts'
import { entryKey } from '../state/print.ts'
import { Histogram } from './histogram.ts'
import { JoinLatency } from './join_latency.ts'

/** The agent's state at one moment, for /healthz, /readyz and /metrics. */
export interface AgentStatus {
  readonly version: string
  /** Why pods should not be scheduled here, one sentence each; empty: ready. */
  readonly notReady: readonly string[]
  /** All checks behind `notReady`, in order. */
  readonly checks: readonly Check[]
  /** Undefined before the first lease. */
  readonly lease: Lease | undefined
  /** Peers whose entries are desired. */
  readonly peers: number
  /** Why a peer is not programmed, by node. */
  readonly refused: ReadonlyMap<string, string>
  readonly findings: readonly Finding[]
  readonly failing: readonly FailingEntry[]
  /** Keys that another program keeps undoing. */
  readonly contested: readonly string[]
  readonly rounds: RoundTotals
  /** Duration of the current round so far, in ms; 0 between two rounds. */
  readonly roundMs: number
  /** The desired entries and their nodes; undefined before this node has a lease. */
  readonly view: Omit<NodeView, 'storeKind'> | undefined
  readonly resyncMs: number
  readonly store: StoreHealth
}

export interface Check {
  /** For scripts: `firewall`. */
  readonly name: string
  /** Why it fails; empty: it passes. */
  readonly reasons: readonly string[]
}

export function check(name: string, ...reasons: readonly (string | undefined)[]): Check {
  return { name, reasons: reasons.filter(reason => reason !== undefined) }
}

export interface FailingEntry {
  readonly key: string
  readonly error: string
}

export type StatusSource = () => AgentStatus

/** Sums over the rounds since start. */
export class RoundTotals {
  /** Entries found wrong without a change of the desired state, by kind. */
  readonly driftRepaired: Record<Entry['kind'], number> = {
    link: 0,
    address: 0,
    fdb: 0,
    neighbor: 0,
    route: 0,
  }
  readonly operations = { applied: 0, refused: 0 }
  fullPasses = 0
  /** Duration of the last full pass; undefined before the first. */
  fullPassDurationMs: number | undefined
  readonly fullPassDurations = new Histogram([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30])
  readonly joins: JoinLatency
  #fullPassEndedMs: number | undefined
  readonly #now: () => number

  /** `now` is monotonic, in ms. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
    this.joins = new JoinLatency(now)
  }

  add(round: Round): void {
    const { fullPass, results, drift, durationMs } = round
    this.joins.add(round)
    for (const { operation, error } of results) {
      this.operations[error === undefined ? 'applied' : 'refused']++
      const isRepair = error === undefined && drift.has(entryKey(operation.entry))
      if (isRepair) this.driftRepaired[operation.entry.kind]++
    }
    if (fullPass === undefined) return
    this.fullPasses++
    this.fullPassDurationMs = durationMs
    this.fullPassDurations.observe(durationMs)
    this.#fullPassEndedMs = this.#now()
  }

  /** ms since the end of the last full pass; undefined before the first. */
  get sinceFullPassMs(): number | undefined {
    return this.#fullPassEndedMs === undefined ? undefined : this.#now() - this.#fullPassEndedMs
  }
}

/** A node without its store for this long is not ready: a shorter outage needs no alarm. */
const STORE_OUTAGE_MS = 15_000

/** Why this node's peers may be out of date; undefined while the store answers, or did just now. */
export function storeOutage({ lastContactMs, trouble, troubleMs }: StoreHealth): string | undefined {
  if (trouble === undefined) return undefined
  if (lastContactMs === undefined) return `the store has not answered yet: ${trouble}`
  if (troubleMs < STORE_OUTAGE_MS) return undefined
  return `the store has not served this node for ${Math.round(troubleMs / 1000)} s: ${trouble}`
}

/** Time allowed for a full pass itself, added to its period. */
const PASS_MS = 30_000

/** A round that takes longer than this hangs: 20,000 peers at once take some seconds. */
const HUNG_MS = 60_000

/** Undefined while the agent is alive, or waits for its store: a restart would not help then. */
export function reasonToRestart({ rounds, roundMs, resyncMs }: AgentStatus): string | undefined {
  const toSeconds = (ms: number) => Math.round(ms / 1000)
  if (roundMs > HUNG_MS)
    return `the round that programs the kernel has not ended for ${toSeconds(roundMs)} s: it hangs`
  const { sinceFullPassMs } = rounds
  if (sinceFullPassMs === undefined || sinceFullPassMs <= 2 * resyncMs + PASS_MS) return undefined
  const [since, period] = [sinceFullPassMs, resyncMs].map(toSeconds)
  return `the last full pass ended ${since} s ago, and one is due every ${period} s: a round hangs`
}
