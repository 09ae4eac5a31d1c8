export interface BudgetLimits {
  readonly most: number
  readonly perSecond: number
}

/** A token bucket: limits work that outside events cause. Times are of a monotonic clock, in ms. */
export class Budget {
  readonly #limits: BudgetLimits
  #left: number
  #countedMs = Number.NEGATIVE_INFINITY

  constructor(limits: BudgetLimits) {
    this.#limits = limits
    this.#left = limits.most
  }

  /** Takes the amount. Returns false, and takes nothing, where less is left. */
  spend(amount: number, nowMs = performance.now()): boolean {
    this.#refill(nowMs)
    if (this.#left < amount) return false
    this.#left -= amount
    return true
  }

  /** Time in ms until an amount of one can be spent; 0: now. */
  waitMs(nowMs = performance.now()): number {
    this.#refill(nowMs)
    return this.#left >= 1 ? 0 : ((1 - this.#left) * 1000) / this.#limits.perSecond
  }

  #refill(nowMs: number): void {
    const { most, perSecond } = this.#limits
    this.#left = Math.min(most, this.#left + ((nowMs - this.#countedMs) / 1000) * perSecond)
    this.#countedMs = nowMs
  }
}
