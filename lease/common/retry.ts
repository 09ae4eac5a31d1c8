import { backoffMs } from './backoff.ts'
import { messageOf } from './errors.ts'
import type { Log } from './log.ts'
import type { RetryLimits } from './pace.ts'
import { sleep } from './sleep.ts'

export interface RetryOptions extends RetryLimits {
  /** So many failures, or one that lasted so long, are enough to say that the store is away. */
  readonly away: { readonly failures: number; readonly afterMs: number }
  /** Whether trying again can help; any other error is thrown at once. */
  readonly isTrouble: (error: unknown) => boolean
  /** Whether it lasts until an operator mends something, as a missing permission does. */
  readonly needsOperator?: (error: unknown) => boolean
  /** How long the store wants to be left alone. */
  readonly askedMs?: (error: unknown) => number
  /** In [0, 1). */
  readonly random: () => number
  /** Milliseconds that never jump. */
  readonly now: () => number
  readonly log: Log
}

/** A trouble that comes and goes, or stays, is logged once in so long. */
const SAY_AGAIN_MS = 300_000
/** No more texts than these are kept: an endpoint can make up as many as it likes. */
const TEXTS = 20
/** Activities whose failures are counted. */
const ACTIVITIES = 20

/**
 * The one place where a store tries again. Each activity (`keep the lease`) has at most one trouble; what several activities
 * meet is logged once, when it comes, and once more when all troubles are over.
 */
export class Retrier {
  readonly #options: RetryOptions
  /** By activity, the newest last. */
  readonly #troubles = new Map<string, { readonly text: string; readonly since: number }>()
  /** When each text was logged last. */
  readonly #said = new Map<string, number>()
  readonly #failures = new Map<string, number>()
  #since = 0
  /** Whether the troubles that stand were logged. */
  #isSaid = false

  constructor(options: RetryOptions) {
    this.#options = options
  }

  /** The newest of those that stand; undefined while all goes well. */
  get trouble(): string | undefined {
    return [...this.#troubles.values()].at(-1)?.text
  }

  /** How long the oldest of those that stand has lasted: since its activity succeeded last, whatever others do. */
  get troubleMs(): number {
    const sinces = Array.from(this.#troubles.values(), ({ since }) => since)
    return sinces.length === 0 ? 0 : this.#options.now() - Math.min(...sinces)
  }

  /** How often each activity has failed since the start: each time it was tried again. */
  get failures(): ReadonlyMap<string, number> {
    return this.#failures
  }

  /** Tries until it works. Rejects with the signal's reason, and with an error that is no trouble or is `final`. */
  async until<T>(
    activity: string,
    act: () => Promise<T>,
    signal: AbortSignal,
    isFinal: (error: unknown) => boolean = () => false,
  ): Promise<T> {
    return this.#until(activity, act, () => undefined, signal, isFinal)
  }

  /**
   * As `until`, but asks `instead` once enough was tried to say that the store is away; what that gives, if anything, is the
   * answer.
   */
  async untilOr<T>(
    activity: string,
    act: () => Promise<T>,
    instead: () => T | undefined,
    signal: AbortSignal,
  ): Promise<T> {
    const isAway = this.awayTest()
    return this.#until(
      activity,
      act,
      () => (isAway() ? instead() : undefined),
      signal,
      () => false,
    )
  }

  /** A question to be asked after each failure: whether enough was tried to say that the store is away. */
  awayTest(): () => boolean {
    const { away, now } = this.#options
    const startedAt = now()
    let failures = 0
    return () => {
      failures++
      return failures >= away.failures || now() - startedAt >= away.afterMs
    }
  }

  async #until<T>(
    activity: string,
    act: () => Promise<T>,
    instead: () => T | undefined,
    signal: AbortSignal,
    isFinal: (error: unknown) => boolean,
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
          this.clear(activity) // Nothing tries this any more: the watches will tell.
          return answer
        }
        await this.pause(attempt, signal, this.#options.askedMs?.(error))
      }
    }
  }

  /** Notes the trouble. Throws the error where trying again cannot help, and the signal's reason. */
  failed(activity: string, error: unknown, signal: AbortSignal): void {
    signal.throwIfAborted()
    if (!this.#options.isTrouble(error)) throw error
    const failures = this.#failures.get(activity) ?? 0
    if (failures > 0 || this.#failures.size < ACTIVITIES) this.#failures.set(activity, failures + 1)
    this.note(activity, messageOf(error), this.#options.needsOperator?.(error) ? 'error' : 'warn')
  }

  /** Several endpoints may take turns: each text is logged once. */
  note(activity: string, text: string, level: 'warn' | 'error' = 'warn'): void {
    const { now, log } = this.#options
    if (this.#troubles.size === 0) this.#since = now()
    this.wait(activity, text)
    if (!this.#isNew(text)) return
    this.#isSaid = true
    log[level]({ activity, reason: text }, `Cannot ${activity}, trying again: ${text}`)
  }

  /** Something is waited for that the store cannot be blamed for. The caller logs it, and calls `clear` when it is there. */
  wait(activity: string, text: string): void {
    const since = this.#troubles.get(activity)?.since ?? this.#options.now()
    this.#troubles.delete(activity)
    this.#troubles.set(activity, { text, since })
  }

  clear(activity: string): void {
    this.#troubles.delete(activity)
    if (this.#troubles.size === 0) this.#isSaid = false
  }

  /** The activity works. */
  over(activity: string): void {
    const wasSaid = this.#isSaid
    if (!this.#troubles.has(activity)) return
    this.clear(activity)
    if (!wasSaid || this.#isSaid) return
    const afterMs = Math.round(this.#options.now() - this.#since)
    this.#options.log.info(
      { activity, afterMs },
      `Can ${activity} again, after ${(afterMs / 1000).toFixed(1)} s`,
    )
  }

  /** Between half and the whole of a time that doubles with each attempt: many nodes do not come back at once. */
  pause(attempt: number, signal: AbortSignal, askedMs = 0): Promise<void> {
    const { minMs, maxMs } = this.#options
    return this.rest(backoffMs(attempt + 1, maxMs, minMs), signal, askedMs)
  }

  /** Waits between half and the whole of it, but never less than was asked for. Rejects with the signal's reason. */
  rest(ms: number, signal: AbortSignal, askedMs = 0): Promise<void> {
    return sleep(Math.max(askedMs, ms * (1 - this.#options.random() / 2)), signal)
  }

  #isNew(text: string): boolean {
    const now = this.#options.now()
    for (const [said, atMs] of this.#said) if (now - atMs >= SAY_AGAIN_MS) this.#said.delete(said)
    if (this.#said.has(text) || this.#said.size >= TEXTS) return false
    this.#said.set(text, now)
    return true
  }
}
