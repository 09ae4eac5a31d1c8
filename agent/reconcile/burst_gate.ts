import { WakeUp } from '../../lease/common/wake_up.ts'

/**
 * This many entries that go wrong at once are the start of more: a flush, or a device that is being deleted.
 */
const MANY = 8
/** A burst ends when nothing arrives for the first time; the wait never exceeds the second. */
const CALM_MS = 10
const LONGEST_MS = 300

/**
 * Counts notifications of wrong entries since the last round: a repair during a burst would be undone again.
 */
export class BurstGate {
  readonly #now: () => number
  #count = 0
  readonly #wakeUp = new WakeUp()
  #isExplained = false

  /** `now` is monotonic, in ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  count(): void {
    this.#count++
  }

  /** The cause may be known now: a wait asks `isClear` at once. */
  explain(): void {
    this.#isExplained = true
    this.#wakeUp.set()
  }

  /**
   * Waits for the end of a burst, if there is one; stops waiting once `isClear` says that its cause is known.
   */
  async pass(isClear: () => boolean, signal: AbortSignal): Promise<void> {
    const endMs = this.#now() + LONGEST_MS
    while (this.#count > MANY && !isClear() && this.#now() < endMs) {
      const seen = this.#count
      await this.#wakeUp.wait(CALM_MS, signal)
      if (this.#count === seen && !this.#isExplained) break
      this.#isExplained = false
    }
    this.#count = 0
  }
}
