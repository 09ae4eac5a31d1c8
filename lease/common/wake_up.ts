/** Longer timers overflow in Node.js and fire at once. */
const LONGEST_MS = 2 ** 31 - 1

/**
 * Wakes all waiters. A set() without a waiter is kept for the next wait: work between two waits is never
 * missed, and any number of set() calls wakes once.
 */
export class WakeUp {
  #due = false
  /** A waiter was woken but has not run yet: it will see the cause of any further set(): keep none. */
  #waking = false
  readonly #waiters = new Set<() => void>()

  set(): void {
    if (this.#waiters.size === 0 && !this.#waking) this.#due = true
    for (const wake of this.#waiters) wake()
  }

  /** Resolves on set() or after `ms` (at most 24 days, or infinite). Rejects with the signal's reason. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (!this.#due) await this.#sleep(ms, signal)
    this.#due = false
    this.#waking = false
    signal.throwIfAborted()
  }

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', abort)
        this.#waiters.delete(wake)
      }
      const wake = () => {
        leave()
        this.#waking = true
        resolve()
      }
      const abort = () => {
        leave()
        reject(signal.reason)
      }
      const timer = Number.isFinite(ms) ? setTimeout(wake, Math.min(ms, LONGEST_MS)) : undefined
      signal.addEventListener('abort', abort)
      this.#waiters.add(wake)
    })
  }
}
