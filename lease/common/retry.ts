import { backoffMs, spread } from './backoff.ts'
import { messageOf } from './errors.ts'
import { Pace, type PaceOptions, type RetryLimits } from './pace.ts'
import { sleep } from './sleep.ts'
import { TroubleLog, type TroubleLogOptions } from './trouble_log.ts'

export interface RetryOptions extends RetryLimits, TroubleLogOptions {
  /** After that many failures, or failures for that long, the store counts as away. */
  readonly away: { readonly failures: number; readonly afterMs: number }
  /** Whether a later try can succeed; any other error is thrown at once. */
  readonly isTrouble: (error: unknown) => boolean
  /** Whether only an operator can end the trouble, such as a missing permission. */
  readonly needsOperator?: (error: unknown) => boolean
  /** How long the store asked to be left alone. */
  readonly askedMs?: (error: unknown) => number
  /** In [0, 1). */
  readonly random: () => number
}

/** Failures are counted for at most this many activities. */
const ACTIVITIES = 20

/**
 * The only code that retries calls to a store. Each activity (`keep the lease`) has at most one trouble.
 * Several with one text are logged once, and one line more when all are over.
 */
export class Retrier {
  readonly #options: RetryOptions
  /** By activity, newest last. */
  readonly #troubles = new Map<string, { readonly text: string; readonly since: number }>()
  /** Failed attempts of each activity since the start. */
  readonly failures = new Map<string, number>()
  /** Watches that broke, ended or fell behind, and were opened again. */
  restarts = 0
  #since = 0
  readonly #log: TroubleLog

  constructor(options: RetryOptions) {
    this.#options = options
    this.#log = new TroubleLog(options)
  }

  get trouble(): string | undefined {
    return [...this.#troubles.values()].at(-1)?.text
  }

  /** How long the oldest current trouble has lasted; successes of other activities do not count. */
  get troubleMs(): number {
    const sinces = Array.from(this.#troubles.values(), ({ since }) => since)
    return sinces.length === 0 ? 0 : this.#options.now() - Math.min(...sinces)
  }

  /** As `until`, but while the store counts as away a failure returns what `instead` does, if anything. */
  async untilOr<T>(
    activity: string,
    act: () => Promise<T>,
    instead: () => T | undefined,
    signal: AbortSignal,
  ): Promise<T> {
    const isAway = this.awayTest()
    return this.until(activity, act, signal, undefined, () => (isAway() ? instead() : undefined))
  }

  /** Returns a test to call after each failure: whether the store now counts as away. */
  awayTest(): () => boolean {
    const { away, now } = this.#options
    const startedAt = now()
    let failures = 0
    return () => {
      failures++
      return failures >= away.failures || now() - startedAt >= away.afterMs
    }
  }

  /**
   * Rejects with the signal's reason, and with an error that is no trouble or that `isFinal` names. A result
   * of `instead`, called after each failure, ends the retries.
   */
  async until<T>(
    activity: string,
    act: () => Promise<T>,
    signal: AbortSignal,
    isFinal: (error: unknown) => boolean = () => false,
    instead: () => T | undefined = () => undefined,
  ): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      signal.throwIfAborted()
      try {
        const answer = await act()
        this.over(activity)
        return answer
      } catch (error) {
        if (!signal.aborted && isFinal(error)) {
          this.over(activity)
          throw error
        }
        this.failed(activity, error, signal)
        const answer = instead()
        if (answer !== undefined) {
          this.clear(activity) // This activity is no longer retried; the watches report the store's state.
          return answer
        }
        await this.pause(attempt, signal, this.#options.askedMs?.(error))
      }
    }
  }

  /**
   * Repeats an activity that lasts, such as a watch, after its end and after a failure. The back-off starts
   * again once it has lasted longer than the longest one: a call that times out is no success. Rejects as
   * `failed` throws.
   */
  async forever(activity: string, act: () => Promise<void>, signal: AbortSignal): Promise<never> {
    const pace = this.pace({ lastingMs: this.#options.maxMs })
    for (;;) {
      pace.started()
      try {
        await act()
      } catch (error) {
        this.failed(activity, error, signal)
      }
      await pace.next(signal)
    }
  }

  /** For an activity whose caller repeats it; with this retrier's limits, clock and random numbers. */
  pace(other: Partial<PaceOptions> = {}): Pace {
    const { minMs, maxMs, random, now } = this.#options
    return new Pace({ minMs, maxMs, random, now, ...other })
  }

  /** Notes the trouble. Throws the error where a later try cannot succeed, and the signal's reason. */
  failed(activity: string, error: unknown, signal: AbortSignal): void {
    signal.throwIfAborted()
    if (!this.#options.isTrouble(error)) throw error
    const failures = this.failures.get(activity) ?? 0
    if (failures > 0 || this.failures.size < ACTIVITIES) this.failures.set(activity, failures + 1)
    const text = messageOf(error)
    this.wait(activity, text)
    if (this.#options.needsOperator?.(error)) this.#log.say(activity, text, 'error')
    else this.#log.failed(activity, text, this.#troubles.get(activity)?.since ?? 0)
  }

  note(activity: string, text: string): void {
    this.wait(activity, text)
    this.#log.say(activity, text)
  }

  /** Notes a wait that is not the store's fault. The caller logs it, and calls `clear` at its end. */
  wait(activity: string, text: string): void {
    const since = this.#troubles.get(activity)?.since ?? this.#options.now()
    if (this.#troubles.size === 0) this.#since = since
    this.#troubles.delete(activity)
    this.#troubles.set(activity, { text, since })
  }

  clear(activity: string): void {
    this.#troubles.delete(activity)
    this.#log.ended(activity, this.#troubles.size === 0)
  }

  over(activity: string): void {
    const wasSaid = this.#log.isSaid
    if (!this.#troubles.has(activity)) return
    this.clear(activity)
    if (!wasSaid || this.#log.isSaid) return
    const afterMs = Math.round(this.#options.now() - this.#since)
    this.#options.log.info(
      { activity, afterMs },
      `Can ${activity} again, after ${(afterMs / 1000).toFixed(1)} s`,
    )
  }

  /** Waits half to all of a back-off that doubles, so that many nodes do not return at once. */
  pause(attempt: number, signal: AbortSignal, askedMs = 0): Promise<void> {
    const { minMs, maxMs } = this.#options
    return this.rest(backoffMs(attempt + 1, maxMs, minMs), signal, askedMs)
  }

  /** Waits between half and all of `ms`, at least `askedMs`. Rejects with the signal's reason. */
  rest(ms: number, signal: AbortSignal, askedMs = 0): Promise<void> {
    return sleep(Math.max(askedMs, spread(ms, this.#options.random)), signal)
  }
}
