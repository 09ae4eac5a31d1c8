import { backoffMs } from './backoff.ts'
import { sleep } from './sleep.ts'

export interface RetryLimits {
  /** The wait before the second try; it doubles with each further try. */
  readonly minMs: number
  readonly maxMs: number
}

/**
 * Spaces out the tries of a lasting activity, such as a watch: the wait doubles, and starts at `minMs` again
 * once a try has lasted longer than the next wait. A server that ends each watch at once is asked ever less
 * often.
 */
export class Pace {
  readonly #limits: RetryLimits
  #attempt = 0
  #startedMs = performance.now()

  constructor(limits: RetryLimits) {
    this.#limits = limits
  }

  started(): void {
    this.#startedMs = performance.now()
  }

  /** Call after each try: waits, at least for the server's `askedMs`. Rejects with the signal's reason. */
  async next(signal: AbortSignal, askedMs = 0): Promise<void> {
    const { minMs, maxMs } = this.#limits
    const lastedMs = performance.now() - this.#startedMs
    if (lastedMs > backoffMs(this.#attempt + 1, maxMs, minMs)) this.#attempt = 0
    this.#attempt++
    const waitMs = backoffMs(this.#attempt, maxMs, minMs)
    await sleep(Math.max(askedMs, waitMs * (1 - Math.random() / 4)), signal)
  }
}
