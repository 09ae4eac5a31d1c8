/** A slot that remembers that it was set: setting it twice wakes once, and a wake-up before the wait is not lost. */
export class WakeUp {
  #set = false
  #resolve: (() => void) | undefined

  set(): void {
    this.#set = true
    this.#resolve?.()
  }

  /** Resolves when set or after `ms` (at most 2^31, or infinity), whichever comes first, and clears the slot. Rejects with the signal's reason. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (!this.#set) {
      await new Promise<void>((resolve, reject) => {
        const done = () => {
          clearTimeout(timer)
          signal.removeEventListener('abort', aborted)
          this.#resolve = undefined
          resolve()
        }
        const aborted = () => {
          done()
          reject(signal.reason)
        }
        const timer = Number.isFinite(ms) ? setTimeout(done, ms) : undefined
        signal.addEventListener('abort', aborted)
        this.#resolve = done
      })
      signal.throwIfAborted()
    }
    this.#set = false
  }
}
