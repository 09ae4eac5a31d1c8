import type { Lease } from '../../lease/lease.ts'
import type { StoreHealth } from '../../lease/store.ts'
import type { Finding } from '../diagnose/doctor/finding.ts'
import type { Round } from '../reconcile/round.ts'
import type { Entry } from '../state/entry.ts'
import { entryKey } from '../state/print.ts'

/** How an agent does at one moment: what /healthz, /readyz and /metrics say. */
export interface AgentStatus {
  readonly version: string
  /** Why pods should not be sent here, one sentence each; empty: ready. */
  readonly notReady: readonly string[]
  /** Undefined before there is one. */
  readonly lease: Lease | undefined
  /** Peers whose entries are desired. */
  readonly peers: number
  /** Why a peer, by node, is not programmed. */
  readonly refused: ReadonlyMap<string, string>
  /** What was found on this host beside the overlay's own entries. */
  readonly findings: readonly Finding[]
  readonly failing: readonly FailingEntry[]
  /** Keys that somebody else keeps undoing. */
  readonly contested: readonly string[]
  readonly rounds: RoundTotals
  /** Between two full passes. */
  readonly resyncMs: number
  readonly store: StoreHealth
}

/** An entry that the kernel refuses. */
export interface FailingEntry {
  readonly key: string
  /** In the kernel's own words. */
  readonly error: string
}

export type StatusSource = () => AgentStatus

type Kind = Entry['kind']

/** Sums over the rounds since start. */
export class RoundTotals {
  /** Entries that were found wrong though nothing new was desired, by kind. */
  readonly driftRepaired = new Map<Kind, number>([
    ['link', 0],
    ['address', 0],
    ['fdb', 0],
    ['neighbor', 0],
    ['route', 0],
  ])
  readonly operations = { applied: 0, refused: 0 }
  fullPasses = 0
  /** Of the last full pass; undefined before the first. */
  fullPassDurationMs: number | undefined
  #fullPassEndedMs: number | undefined
  readonly #now: () => number

  /** `now` is monotonic, in ms. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  add({ fullPass, results, drift, durationMs }: Round): void {
    for (const { operation, error } of results) {
      this.operations[error === undefined ? 'applied' : 'refused']++
      if (error !== undefined || !drift.has(entryKey(operation.entry))) continue
      const { kind } = operation.entry
      this.driftRepaired.set(kind, (this.driftRepaired.get(kind) ?? 0) + 1)
    }
    if (fullPass === undefined) return
    this.fullPasses++
    this.fullPassDurationMs = durationMs
    this.#fullPassEndedMs = this.#now()
  }

  /** ms since the end of the last full pass; undefined before the first. */
  get sinceFullPassMs(): number | undefined {
    return this.#fullPassEndedMs === undefined ? undefined : this.#now() - this.#fullPassEndedMs
  }
}

/** A store that is away this long makes a node not ready: before, it is a hiccup that no one needs to know of. */
const STORE_AWAY_MS = 15_000

/** Why a node should not be trusted to know its peers; undefined while the store answers, or did just now. */
export function storeAway({ lastContactMs, trouble, troubleMs }: StoreHealth): string | undefined {
  if (trouble === undefined) return undefined
  if (lastContactMs === undefined) return `the store has not answered yet: ${trouble}`
  if (troubleMs < STORE_AWAY_MS) return undefined
  return `the store has not served this node for ${Math.round(troubleMs / 1000)} s: ${trouble}`
}

/** A full pass may take this long beside its period. */
const PASS_MS = 30_000

/**
 * Why the agent is to be restarted; undefined while it lives. Full passes come of themselves, so that a round that hangs
 * shows as none for two periods. Before the first one the agent waits for its store: restarting would not help.
 */
export function lifelessness({ rounds, resyncMs }: AgentStatus): string | undefined {
  const { sinceFullPassMs } = rounds
  if (sinceFullPassMs === undefined || sinceFullPassMs <= 2 * resyncMs + PASS_MS) return undefined
  const [since, period] = [sinceFullPassMs, resyncMs].map(ms => Math.round(ms / 1000))
  return `the last full pass ended ${since} s ago, and one is due every ${period} s: a round hangs`
}
