import { backoffMs } from '../../lease/common/backoff.ts'

/** An operation that the kernel refuses; it is tried again with back-off. */
export interface Refusal {
  /** Refusals in a row. */
  readonly count: number
  readonly notBeforeMs: number
  /** Its message includes the kernel's own. */
  readonly error: Error
}

/** Back-off for each key that the kernel refuses. Times are of a monotonic clock, in ms. */
export class Refusals {
  readonly byKey = new Map<string, Refusal>()

  /** ms that the key still has to wait; 0: none. */
  waitMs(key: string, nowMs: number): number {
    return Math.max(0, (this.byKey.get(key)?.notBeforeMs ?? 0) - nowMs)
  }

  add(key: string, error: Error, nowMs: number, longestMs?: number): void {
    const count = (this.byKey.get(key)?.count ?? 0) + 1
    this.byKey.set(key, { count, error, notBeforeMs: nowMs + backoffMs(count, longestMs) })
  }

  delete(key: string): void {
    this.byKey.delete(key)
  }

  /** Clears the back-off of the key: something that it depends on has changed. */
  retry(key: string): void {
    const refusal = this.byKey.get(key)
    if (refusal !== undefined) this.byKey.set(key, { ...refusal, count: 0, notBeforeMs: 0 })
  }
}
