import type { Round } from '../reconcile/round.ts'
import { entryKey } from '../state/print.ts'
import { Histogram } from './histogram.ts'

/** Time from the store's event about a lease to the route in the kernel, the last of a peer's entries. */
export class JoinLatency {
  readonly histogram = new Histogram([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30])
  /** When the store last changed each key that may still be wrong. */
  readonly #sinceMs = new Map<string, number>()
  readonly #now: () => number

  /** `now` is monotonic, in ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  storeChanged(keys: Iterable<string>): void {
    const nowMs = this.#now()
    for (const key of keys) if (isRoute(key) && !this.#sinceMs.has(key)) this.#sinceMs.set(key, nowMs)
  }

  add({ results, drift, durationMs }: Round): void {
    if (this.#sinceMs.size === 0) return
    const nowMs = this.#now()
    const refused = new Set<string>()
    for (const { operation, error } of results) {
      const key = entryKey(operation.entry)
      if (error !== undefined) refused.add(key)
      const sinceMs = this.#sinceMs.get(key)
      if (sinceMs === undefined || error !== undefined) continue
      if (operation.verb !== 'delete' && !drift.has(key)) this.histogram.observe(nowMs - sinceMs)
      this.#sinceMs.delete(key)
    }
    // The round compared these keys and changed nothing: their entries were right.
    const beganMs = nowMs - durationMs
    for (const [key, sinceMs] of this.#sinceMs)
      if (sinceMs < beganMs && !refused.has(key)) this.#sinceMs.delete(key)
  }
}

function isRoute(key: string): boolean {
  return key.startsWith('route ')
}
