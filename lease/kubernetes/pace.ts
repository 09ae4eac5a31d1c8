import { sleep } from '../common/sleep.ts'
import { ApiError } from './api_error.ts'

export interface PaceLimits {
  /** First and longest wait between two tries, in ms. */
  readonly minMs: number
  readonly maxMs: number
}

/** No server keeps a node out for longer, whatever its Retry-After says. */
const longestRetryAfterMs = 300_000

/**
 * How long to wait before the next try: twice as long each time, up to the limit, until a try has lasted longer than
 * the wait before it. So a server that ends each watch at once, with or without an error, is asked less and less, and
 * one that ends them every few minutes is asked again soon. A quarter is random: nodes that lost one server together
 * do not come back together.
 */
export class Pace {
  readonly #limits: PaceLimits
  #waitMs: number
  #startedMs = Date.now()

  constructor(limits: PaceLimits) {
    this.#limits = limits
    this.#waitMs = limits.minMs
  }

  /** Before each try. */
  started(): void {
    this.#startedMs = Date.now()
  }

  /** After a try that ended, by `cause` where it failed. Rejects with the signal's reason. */
  async next(cause: unknown, signal: AbortSignal): Promise<void> {
    if (Date.now() - this.#startedMs > this.#waitMs) this.#waitMs = this.#limits.minMs
    const asked = cause instanceof ApiError ? (cause.retryAfterMs ?? 0) : 0
    const waitMs = Math.max(Math.min(asked, longestRetryAfterMs), this.#waitMs * (0.75 + Math.random() / 4))
    this.#waitMs = Math.min(this.#waitMs * 2, this.#limits.maxMs)
    await sleep(waitMs, signal)
  }
}
