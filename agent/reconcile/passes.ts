import { Budget } from '../../lease/common/budget.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'

/** A full pass follows the repair of a device after this time. */
const VERIFY_MS = 1_000
/** Limits what a device costs that flaps without end. */
const PASSES = { most: 5, perSecond: 1 } as const

/** When a full pass is due, and why. Times are of a monotonic clock, in ms. */
export class Passes {
  readonly #resyncMs: number
  readonly #budget = new Budget(PASSES)
  #asked: string | undefined = 'start'
  #begun = 0
  #lastMs = 0
  #verifyAtMs = Number.POSITIVE_INFINITY
  /** Callers that wait for a pass, with the number of passes begun when each called. */
  readonly #waiting = new Map<WakeUp, number>()

  constructor(resyncMs: number) {
    this.#resyncMs = resyncMs
  }

  /** Asks for a pass. Before the first one, the reason stays `start`. */
  ask(reason: string): void {
    if (this.#asked !== 'start') this.#asked = reason
  }

  get isAsked(): boolean {
    return this.#asked !== undefined
  }

  get hasBegun(): boolean {
    return this.#begun > 0
  }

  /** Resolves after a pass that began after this call, and so saw everything that was true before it. */
  async next(signal: AbortSignal): Promise<void> {
    const passed = new WakeUp()
    this.#waiting.set(passed, this.#begun)
    try {
      await passed.wait(Number.POSITIVE_INFINITY, signal)
    } finally {
      this.#waiting.delete(passed)
    }
  }

  due(nowMs: number): string | undefined {
    if (this.#asked !== undefined) return this.#asked
    if (this.#verifyAtMs <= nowMs) return 'a device was repaired'
    return this.nextInMs(nowMs) <= 0 ? 'resync' : undefined
  }

  /** ms that a due pass has to wait for its budget. */
  waitMs(nowMs: number): number {
    return this.#budget.waitMs(nowMs)
  }

  /** ms until the next pass that is due without a request. */
  nextInMs(nowMs: number): number {
    return Math.min(this.#lastMs + this.#resyncMs, this.#verifyAtMs) - nowMs
  }

  /** Starts a pass: requests from now on ask for another one. */
  begin(nowMs: number): void {
    this.#asked = undefined
    this.#begun += 1
    this.#budget.spend(1, nowMs)
  }

  hasRead(nowMs: number): void {
    this.#lastMs = nowMs
    this.#verifyAtMs = Number.POSITIVE_INFINITY
  }

  ended(): void {
    for (const [passed, before] of this.#waiting) if (this.#begun > before) passed.set()
  }

  /** A device was repaired: a pass follows soon, as the kernel may have dropped more than it announced. */
  verify(nowMs: number): void {
    this.#verifyAtMs = Math.min(this.#verifyAtMs, nowMs + VERIFY_MS)
  }
}
