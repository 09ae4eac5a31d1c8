import { WakeUp } from '../../lease/common/wake_up.ts'

/** More wrong entries than this at once start a burst: a flush, or a device that is being deleted. */
const BURST_SIZE = 8
/** A burst ends when nothing arrives for CALM_MS. The wait never exceeds MAX_WAIT_MS. */
const CALM_MS = 10
const MAX_WAIT_MS = 300

/** Delays a round while wrong entries arrive in a burst: another program would undo a repair again. */
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

  /** The cause of the burst may be known now: makes a waiting `pass` ask `isClear` at once. */
  explain(): void {
    this.#isExplained = true
    this.#wakeUp.set()
  }

  /** Waits for the end of a burst, if there is one, or until `isClear` says that the cause is known. */
  async pass(isClear: () => boolean, signal: AbortSignal): Promise<void> {
    const endMs = this.#now() + MAX_WAIT_MS
    while (this.#count > BURST_SIZE && !isClear() && this.#now() < endMs) {
      const seen = this.#count
      await this.#wakeUp.wait(CALM_MS, signal)
      if (this.#count === seen && !this.#isExplained) break
      this.#isExplained = false
    }
    this.#count = 0
  }
}
