import { Budget } from '../../lease/common/budget.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'

/** How long after the repair of a device a full pass follows. */
const VERIFY_MS = 1_000
/** A device that flaps without end costs little. */
const PASSES = { most: 5, perSecond: 1 } as const

/** When a full pass is due, and why. Times are of a monotonic clock, in ms. */
export class Passes {
  readonly #resyncMs: number
  readonly #budget = new Budget(PASSES)
  #asked: string | undefined = 'start'
  #begun = 0
  #lastMs = 0
  #verifyAtMs = Number.POSITIVE_INFINITY
  /** Requests that wait for a pass, and the number of passes begun when each was made. */
  readonly #waiting = new Map<WakeUp, number>()

  constructor(resyncMs: number) {
    this.#resyncMs = resyncMs
  }

  /** The first pass keeps its reason. */
  ask(reason: string): void {
    if (this.#asked !== 'start') this.#asked = reason
  }

  get isAsked(): boolean {
    return this.#asked !== undefined
  }

  get hasBegun(): boolean {
    return this.#begun > 0
  }

  /** Resolves after a pass that began after this call: it sees whatever was so before. */
  async next(signal: AbortSignal): Promise<void> {
    const passed = new WakeUp()
    this.#waiting.set(passed, this.#begun)
    try {
      await passed.wait(Number.POSITIVE_INFINITY, signal)
    } finally {
      this.#waiting.delete(passed)
    }
  }

  /** Why a pass is due; undefined where none is. */
  due(nowMs: number): string | undefined {
    if (this.#asked !== undefined) return this.#asked
    if (this.#verifyAtMs <= nowMs) return 'a device was repaired'
    return this.inMs(nowMs) <= 0 ? 'resync' : undefined
  }

  /** How long one that is due has to wait. */
  waitMs(nowMs: number): number {
    return this.#budget.waitMs(nowMs)
  }

  /** Until the next one that is due by itself. */
  inMs(nowMs: number): number {
    return Math.min(this.#lastMs + this.#resyncMs, this.#verifyAtMs) - nowMs
  }

  /** A pass that is asked for from now on is another one. */
  begin(nowMs: number): void {
    this.#asked = undefined
    this.#begun += 1
    this.#budget.spend(1, nowMs)
  }

  /** The pass has read the kernel. */
  looked(nowMs: number): void {
    this.#lastMs = nowMs
    this.#verifyAtMs = Number.POSITIVE_INFINITY
  }

  ended(): void {
    for (const [passed, before] of this.#waiting) if (this.#begun > before) passed.set()
  }

  /** A device was repaired: the kernel may have dropped more than it told. */
  verify(nowMs: number): void {
    this.#verifyAtMs = Math.min(this.#verifyAtMs, nowMs + VERIFY_MS)
  }
}
