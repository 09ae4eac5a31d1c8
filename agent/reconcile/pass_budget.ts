const BURST = 5
const REFILL_MS = 1_000

/**
 * How often all of the kernel may be looked at: a few times in a row at once, then once a second, so that a device that
 * flaps for ever costs little. Times are of a monotonic clock, in ms.
 */
export class PassBudget {
  #left = BURST
  #countedMs = 0

  /** 0: go. */
  waitMs(nowMs: number): number {
    this.#refill(nowMs)
    return this.#left >= 1 ? 0 : (1 - this.#left) * REFILL_MS
  }

  spend(nowMs: number): void {
    this.#refill(nowMs)
    this.#left -= 1
  }

  #refill(nowMs: number): void {
    this.#left = Math.min(BURST, this.#left + (nowMs - this.#countedMs) / REFILL_MS)
    this.#countedMs = nowMs
  }
}
