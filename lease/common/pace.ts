import { backoffMs } from './backoff.ts'
import { sleep } from './sleep.ts'

export interface RetryLimits {
  /** The wait before the second try; each more is twice as long. */
  readonly minMs: number
  readonly maxMs: number
}

/**
 * The pace of something that lasts, a watch: a try that ended is followed by a wait, twice as long each time, until one has
 * lasted longer than the wait before it. So a server that ends each watch at once, with or without an error, is asked less
 * and less, and one that ends them every few minutes is asked again soon.
 */
export class Pace {
  readonly #limits: RetryLimits
  #attempt = 0
  #startedMs = performance.now()

  constructor(limits: RetryLimits) {
    this.#limits = limits
  }

  /** Before each try. */
  started(): void {
    this.#startedMs = performance.now()
  }

  /** After a try that ended. `askedMs`: how long the server wants to be left alone. Rejects with the signal's reason. */
  async next(signal: AbortSignal, askedMs = 0): Promise<void> {
    const { minMs, maxMs } = this.#limits
    const lastedMs = performance.now() - this.#startedMs
    if (lastedMs > backoffMs(this.#attempt + 1, maxMs, minMs)) this.#attempt = 0
    this.#attempt++
    const waitMs = backoffMs(this.#attempt, maxMs, minMs)
    await sleep(Math.max(askedMs, waitMs * (1 - Math.random() / 4)), signal)
  }
}
