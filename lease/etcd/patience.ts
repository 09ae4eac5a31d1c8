import type { Log } from '../common/log.ts'
import { sleep } from '../common/sleep.ts'
import { EtcdError } from './error.ts'
import type { EtcdTuning } from './tuning.ts'

/**
 * The one place where the etcd store tries again. Each activity (`keep the lease`) has at most one trouble; what several
 * activities meet is logged once, when it comes, and once more when all troubles are over.
 */
export class Patience {
  readonly #endpoints: number
  readonly #tuning: EtcdTuning
  readonly #log: Log
  /** By activity, the newest last. */
  readonly #troubles = new Map<string, string>()
  #since = 0
  readonly #said = new Set<string>()

  constructor(endpoints: number, tuning: EtcdTuning, log: Log) {
    this.#endpoints = endpoints
    this.#tuning = tuning
    this.#log = log
  }

  /** The newest of those that stand; undefined while all goes well. */
  get trouble(): string | undefined {
    return [...this.#troubles.values()].at(-1)
  }

  /** Tries until etcd answers. What is not an EtcdError, or says that the store is closed, is thrown at once. */
  async until<T>(activity: string, act: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.#until(activity, act, () => undefined, signal)
  }

  /**
   * As `until`, but asks `instead` once every endpoint has failed, or one call's time has passed; what that gives, if
   * anything, is the answer.
   */
  async untilOr<T>(
    activity: string,
    act: () => Promise<T>,
    instead: () => T | undefined,
    signal: AbortSignal,
  ): Promise<T> {
    const isAway = this.awayTest()
    return this.#until(activity, act, () => (isAway() ? instead() : undefined), signal)
  }

  /** A question to be asked after each failure: whether enough was tried to say that etcd is away. */
  awayTest(): () => boolean {
    const startedAt = this.#tuning.clock.now()
    let failures = 0
    return () => {
      failures++
      return failures >= this.#endpoints || this.#tuning.clock.now() - startedAt >= this.#tuning.callTimeoutMs
    }
  }

  async #until<T>(
    activity: string,
    act: () => Promise<T>,
    instead: () => T | undefined,
    signal: AbortSignal,
  ): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        const answer = await act()
        this.over(activity)
        return answer
      } catch (error) {
        this.met(activity, error, signal)
        const answer = instead()
        if (answer !== undefined) {
          this.#troubles.delete(activity) // nobody goes on trying: the watches will tell
          return answer
        }
        await this.pause(attempt, signal)
      }
    }
  }

  /** Notes the trouble; throws it where trying again cannot help. */
  met(activity: string, error: unknown, signal: AbortSignal): void {
    if (signal.aborted) throw signal.reason
    if (!(error instanceof EtcdError) || error.kind === 'closed') throw error
    this.note(activity, error.message)
  }

  /** Several endpoints may take turns: each text is logged once as long as there is any trouble. */
  note(activity: string, text: string): void {
    if (this.#troubles.size === 0) {
      this.#since = this.#tuning.clock.now()
      this.#said.clear()
    }
    this.#troubles.delete(activity)
    this.#troubles.set(activity, text)
    if (this.#said.has(text) || this.#said.size > 20) return
    this.#said.add(text)
    this.#log.warn({ activity, reason: text }, `Cannot ${activity}, trying again: ${text}`)
  }

  over(activity: string): void {
    if (!this.#troubles.delete(activity) || this.#troubles.size > 0) return
    const afterMs = Math.round(this.#tuning.clock.now() - this.#since)
    this.#log.info({ activity, afterMs }, `Can ${activity} again, after ${(afterMs / 1000).toFixed(1)} s`)
  }

  /** Between half and the whole of a time that doubles with each attempt: many nodes do not come back at once. */
  pause(attempt: number, signal: AbortSignal): Promise<void> {
    const { firstRetryMs, lastRetryMs } = this.#tuning
    return this.rest(Math.min(lastRetryMs, firstRetryMs * 2 ** Math.min(attempt, 20)), signal)
  }

  /** Waits between half and the whole of it. Rejects with the signal's reason. */
  rest(ms: number, signal: AbortSignal): Promise<void> {
    return sleep(ms * (1 - this.#tuning.random() / 2), signal)
  }
}
