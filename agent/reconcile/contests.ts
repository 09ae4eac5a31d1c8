import { backoffMs } from '../../lease/common/backoff.ts'
import type { Entry } from '../state/entry.ts'
import { entryDevice, entryKey } from '../state/print.ts'

/** Another program keeps undoing entries of one kind on one device. */
export interface Contest {
  readonly kind: Entry['kind']
  readonly dev: string | undefined
  /** Repairs in a row. */
  readonly count: number
  /** Keys of the repaired entries. */
  readonly keys: ReadonlySet<string>
  readonly lastMs: number
  /** Do not repair these keys before this time. */
  readonly notBeforeMs: number
}

export interface NamedContest extends Contest {
  /** The one key, or how many entries of which kind: `12 neighbor entries on flannel.1`. */
  readonly entries: string
}

/** A contest is logged after this many repairs in a row. */
const LOG_AFTER = 5
/** Repairs in a row that do not wait. Later ones wait, at most MAX_WAIT_MS: a node must not stay cut off. */
const REPAIRS_WITHOUT_WAIT = 25
const MAX_WAIT_MS = 1_000
/** Repairs within this time have one cause and count as one. */
const SAME_MS = 100
/** A contest is over when nothing was repaired for this time. */
const QUIET_MS = 10_000

/** Counts repairs for each cause: one kind of entry on one device. Times are of a monotonic clock, in ms. */
export class Contests {
  readonly #contests = new Map<string, Contest>()

  named(nowMs: number): ReadonlyMap<string, NamedContest> {
    const named = new Map<string, NamedContest>()
    for (const [cause, contest] of this.#contests)
      if (contest.count > LOG_AFTER && !isOver(contest, nowMs))
        named.set(cause, { ...contest, entries: printContest(contest) })
    return named
  }

  isNamed(entry: Entry): boolean {
    return (this.#contests.get(causeOf(entry))?.count ?? 0) > LOG_AFTER
  }

  /** ms that the entry still has to wait; 0: none. */
  waitMs(entry: Entry, nowMs: number): number {
    for (const { kind, dev, keys, notBeforeMs } of this.#contests.values()) {
      const waits = notBeforeMs > nowMs && kind === entry.kind && dev === deviceOf(entry)
      if (waits && keys.has(entryKey(entry))) return notBeforeMs - nowMs
    }
    return 0
  }

  repaired(entries: Iterable<Entry>, nowMs: number): void {
    const causes = new Map<string, Entry[]>()
    for (const entry of entries) {
      const cause = causeOf(entry)
      const some = causes.get(cause)
      if (some === undefined) causes.set(cause, [entry])
      else some.push(entry)
    }
    for (const [cause, some] of causes) this.#record(cause, some, nowMs)
  }

  /** Ends the waits of all entries on a device that was just repaired. */
  forgetOn(dev: string): void {
    for (const [cause, contest] of this.#contests)
      if (contest.dev === dev && contest.kind !== 'link') this.#contests.delete(cause)
  }

  prune(nowMs: number): void {
    for (const [cause, contest] of this.#contests) if (isOver(contest, nowMs)) this.#contests.delete(cause)
  }

  #record(cause: string, entries: readonly Entry[], nowMs: number): void {
    const [first] = entries
    if (first === undefined) return
    const last = this.#contests.get(cause)
    const before = last !== undefined && !isOver(last, nowMs) ? last : undefined
    const isSame = before !== undefined && nowMs - before.lastMs < SAME_MS
    const count = isSame ? before.count : (before?.count ?? 0) + 1
    const notBeforeMs =
      count > REPAIRS_WITHOUT_WAIT ? nowMs + backoffMs(count - REPAIRS_WITHOUT_WAIT, MAX_WAIT_MS) : nowMs
    const keys = new Set([...(before?.keys ?? []), ...entries.map(entryKey)])
    const lastMs = isSame ? before.lastMs : nowMs
    this.#contests.set(cause, { kind: first.kind, dev: deviceOf(first), count, keys, lastMs, notBeforeMs })
  }
}

function printContest({ kind, dev, keys }: Contest): string {
  const [only] = keys
  if (keys.size === 1 && only !== undefined) return only
  return `${keys.size} ${kind} entries${dev === undefined ? '' : ` on ${dev}`}`
}

function causeOf(entry: Entry): string {
  return `${entry.kind} ${deviceOf(entry) ?? ''}`
}

function deviceOf(entry: Entry): string | undefined {
  return entry.kind === 'link' ? entry.name : entryDevice(entry)
}

function isOver({ lastMs, notBeforeMs }: Contest, nowMs: number): boolean {
  return nowMs - Math.max(lastMs, notBeforeMs) > QUIET_MS
}
