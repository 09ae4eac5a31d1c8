import { backoffMs, spread } from './backoff.ts'
import { sleep } from './sleep.ts'

export interface RetryLimits {
  /** The wait before the second try; it doubles with each further try. */
  readonly minMs: number
  readonly maxMs: number
}

export interface PaceOptions extends RetryLimits {
  /** After a try that lasted longer, the wait starts at `minMs` again; undefined: than the next wait. */
  readonly lastingMs?: number
  /** In [0, 1). */
  readonly random: () => number
  /** A monotonic clock in ms. */
  readonly now: () => number
}

/**
 * Spaces out the tries of a lasting activity, such as a watch: the wait doubles, and starts at `minMs` again
 * once a try has lasted. A server that ends each watch at once is asked ever less
 * often.
 */
export class Pace {
  readonly #options: PaceOptions
  #attempt = 0
  #startedMs: number

  constructor(options: PaceOptions) {
    this.#options = options
    this.#startedMs = options.now()
  }

  started(): void {
    this.#startedMs = this.#options.now()
  }

  /** Call after each try: waits, at least for the server's `askedMs`. Rejects with the signal's reason. */
  async next(signal: AbortSignal, askedMs = 0): Promise<void> {
    const { minMs, maxMs, random, now } = this.#options
    const { lastingMs = backoffMs(this.#attempt + 1, maxMs, minMs) } = this.#options
    if (now() - this.#startedMs > lastingMs) this.#attempt = 0
    this.#attempt++
    await sleep(Math.max(askedMs, spread(backoffMs(this.#attempt, maxMs, minMs), random)), signal)
  }
}
