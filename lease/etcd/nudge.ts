import { wait } from './patience.ts'

/** A wake-up that is remembered until somebody waits for it: many become one. */
export class Nudge {
  #due = false
  #wake: () => void = () => {}

  now(): void {
    this.#due = true
    this.#wake()
  }

  /** Resolves at the nudge, at the latest after that many ms. Rejects with the signal's reason. */
  async within(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (!this.#due) {
      const timer = new AbortController()
      const abort = () => timer.abort()
      signal.addEventListener('abort', abort, { once: true })
      this.#wake = abort
      await wait(ms, timer.signal).catch(() => {})
      this.#wake = () => {}
      signal.removeEventListener('abort', abort)
      signal.throwIfAborted()
    }
    this.#due = false
  }
}
