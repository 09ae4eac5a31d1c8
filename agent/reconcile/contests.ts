import { backoffMs } from '../../lease/common/backoff.ts'
import type { Entry } from '../state/entry.ts'
import { entryDevice, entryKey } from '../state/print.ts'

/** Another program keeps undoing entries of one kind on one device. */
export interface Contest {
  readonly kind: Entry['kind']
  readonly dev: string | undefined
  /** Repairs in a row. */
  readonly count: number
  /** Keys of what was repaired. */
  readonly keys: ReadonlySet<string>
  readonly lastMs: number
  /** These keys are not to be repaired again before. */
  readonly notBeforeMs: number
}

/** What is said of a contest. */
export interface NamedContest extends Contest {
  /** The one key, or how many entries of which kind: `12 neighbor entries on flannel.1`. */
  readonly entries: string
}

/** After so many repairs in a row the contest is named. */
const NAMED = 5
/** So many repairs in a row are done at once; each later one waits, up to the bound: a node must not stay cut off. */
const FREE = 25
const LONGEST_MS = 1_000
/** Repairs so close together have one cause. */
const SAME_MS = 100
/** A contest is over when nothing was repaired for so long. */
const QUIET_MS = 10_000

/** One count for each cause, which is a kind of entry on a device. Times are of a monotonic clock, in ms. */
export class Contests {
  readonly #contests = new Map<string, Contest>()

  /** By cause, those to be named. */
  named(nowMs: number): ReadonlyMap<string, NamedContest> {
    const named = new Map<string, NamedContest>()
    for (const [cause, contest] of this.#contests)
      if (contest.count > NAMED && !isOver(contest, nowMs))
        named.set(cause, { ...contest, entries: printContest(contest) })
    return named
  }

  isNamed(entry: Entry): boolean {
    return (this.#contests.get(causeOf(entry))?.count ?? 0) > NAMED
  }

  /** ms that the entry still has to wait; 0: none. */
  waitMs(entry: Entry, nowMs: number): number {
    const contest = this.#contests.get(causeOf(entry))
    return contest?.keys.has(entryKey(entry)) ? Math.max(0, contest.notBeforeMs - nowMs) : 0
  }

  /** What one round repaired. */
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

  /** Of what sits on a device: it was just mended, so that nothing on it has to wait. */
  forgetOn(dev: string): void {
    for (const [cause, contest] of this.#contests)
      if (contest.dev === dev && contest.kind !== 'link') this.#contests.delete(cause)
  }

  /** Drops those that are over. */
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
    const notBeforeMs = count > FREE ? nowMs + backoffMs(count - FREE, LONGEST_MS) : nowMs
    const keys = new Set([...(before?.keys ?? []), ...entries.map(entryKey)])
    const dev = first.kind === 'link' ? first.name : entryDevice(first)
    const lastMs = isSame ? before.lastMs : nowMs
    this.#contests.set(cause, { kind: first.kind, dev, count, keys, lastMs, notBeforeMs })
  }
}

function printContest({ kind, dev, keys }: Contest): string {
  const [only] = keys
  if (keys.size === 1 && only !== undefined) return only
  return `${keys.size} ${kind} entries${dev === undefined ? '' : ` on ${dev}`}`
}

function causeOf(entry: Entry): string {
  return entry.kind === 'link' ? `link ${entry.name}` : `${entry.kind} ${entryDevice(entry) ?? ''}`
}

function isOver({ lastMs, notBeforeMs }: Contest, nowMs: number): boolean {
  return nowMs - Math.max(lastMs, notBeforeMs) > QUIET_MS
}
