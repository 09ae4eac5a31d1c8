import type { Entry } from '../state/entry.ts'
import type { Result } from '../state/operation.ts'
import { entryKey } from '../state/print.ts'
import { Contests, type NamedContest } from './contests.ts'
import { type Refusal, Refusals } from './refusals.ts'

/** For own devices and addresses: a node without them is cut off, and a retry costs one message. */
const OWN_MAX_BACKOFF_MS = 1_000

/** Entries that the kernel refused or that another program keeps undoing, and when to try each again. */
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

  get contested(): ReadonlyMap<string, NamedContest> {
    return this.#contests.named(this.#now())
  }

  contestedIn(results: readonly Result[]): ReadonlySet<string> {
    const entries = results.map(({ operation }) => operation.entry)
    return new Set(entries.filter(entry => this.#contests.isNamed(entry)).map(entryKey))
  }

  /** ms that the entry still has to wait; 0: none. */
  waitMs(entry: Entry): number {
    const nowMs = this.#now()
    // Usually nothing is refused: then build no keys for thousands of entries.
    const refusedMs = this.refused.size === 0 ? 0 : this.#refusals.waitMs(entryKey(entry), nowMs)
    return Math.max(refusedMs, this.#contests.waitMs(entry, nowMs))
  }

  /** Takes the results of one round. `isUndone` tells whether another program has undone an entry. */
  record(results: readonly Result[], isUndone: (entry: Entry) => boolean): void {
    const nowMs = this.#now()
    for (const { operation, error } of results) {
      const { entry } = operation
      const isOwn = entry.kind === 'link' || entry.kind === 'address'
      const key = entryKey(entry)
      if (error === undefined) this.#refusals.delete(key)
      else this.#refusals.add(key, error, nowMs, isOwn ? OWN_MAX_BACKOFF_MS : undefined)
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

  forget(key: string): void {
    this.#refusals.delete(key)
  }

  /** Clears the back-off of refused entries: something that they depend on has changed. */
  retry(keys: Iterable<string> = this.#refusals.byKey.keys()): void {
    for (const key of keys) this.#refusals.retry(key)
  }

  /** Clears every back-off on the device: it was just repaired. */
  retryOn(dev: string, keys: Iterable<string>): void {
    this.#contests.forgetOn(dev)
    this.retry(keys)
  }
}
