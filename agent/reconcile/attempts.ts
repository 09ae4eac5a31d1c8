import type { Entry } from '../state/entry.ts'
import type { Result } from '../state/operation.ts'
import { entryKey } from '../state/print.ts'
import { Contests, type NamedContest } from './contests.ts'
import { type Refusal, Refusals } from './refusals.ts'

/** Without its device and its own address a node is cut off, and trying again costs one message. */
const OWN_LONGEST_MS = 1_000

/** What did not last: an attempt is refused by the kernel, or contested by another program. Says when to try again. */
export class Attempts {
  readonly #now: () => number
  readonly #refusals = new Refusals()
  readonly #contests = new Contests()

  /** `now` is monotonic, in ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  get refused(): ReadonlyMap<string, Refusal> {
    return this.#refusals.byKey
  }

  /** By cause. */
  get contested(): ReadonlyMap<string, NamedContest> {
    return this.#contests.named(this.#now())
  }

  /** Keys of those entries that another program keeps undoing. */
  contestedIn(results: readonly Result[]): ReadonlySet<string> {
    const entries = results.map(({ operation }) => operation.entry)
    return new Set(entries.filter(entry => this.#contests.isNamed(entry)).map(entryKey))
  }

  /** ms that the entry still has to wait; 0: none. */
  waitMs(entry: Entry): number {
    const nowMs = this.#now()
    return Math.max(this.#refusals.waitMs(entryKey(entry), nowMs), this.#contests.waitMs(entry, nowMs))
  }

  /** What one round applied; `isUndone` tells of an entry that another program has undone. */
  record(results: readonly Result[], isUndone: (entry: Entry) => boolean): void {
    const nowMs = this.#now()
    for (const { operation, error } of results) {
      const { entry } = operation
      const isOwn = entry.kind === 'link' || entry.kind === 'address'
      if (error === undefined) this.#refusals.delete(entryKey(entry))
      else this.#refusals.add(entryKey(entry), error, nowMs, isOwn ? OWN_LONGEST_MS : undefined)
    }
    const repaired = results.filter(
      ({ operation, error }) => error === undefined && isUndone(operation.entry),
    )
    this.#contests.prune(nowMs)
    this.#contests.repaired(
      repaired.map(({ operation }) => operation.entry),
      nowMs,
    )
  }

  /** Something else is desired under this key. */
  forget(key: string): void {
    this.#refusals.delete(key)
  }

  /** What the kernel refused under these keys may be tried at once: something that it depends on has changed. */
  retry(keys: Iterable<string> = this.#refusals.byKey.keys()): void {
    for (const key of keys) this.#refusals.retry(key)
  }

  /** What sits on the device may be tried at once: it was just mended. */
  retryOn(dev: string, keys: Iterable<string>): void {
    this.#contests.forgetOn(dev)
    this.retry(keys)
  }
}
