/** Node's timers wrap around beyond 2^31 ms and would fire at once. */
const LONGEST_MS = 2 ** 31 - 1

/**
 * Wakes everything that waits for it. Set while nothing waits, it is remembered, and the next wait resolves at once: so work
 * that is found between two waits is never missed, and setting it many times wakes once.
 */
export class WakeUp {
  #due = false
  /** Whether a waiter was woken and has not run yet: it will see what the next set() is about. */
  #waking = false
  readonly #waiters = new Set<() => void>()

  set(): void {
    if (this.#waiters.size === 0 && !this.#waking) this.#due = true
    for (const wake of this.#waiters) wake()
  }

  /** Resolves when set or after `ms` (24 days at most, or infinity), whichever comes first. Rejects with the signal's reason. */
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
