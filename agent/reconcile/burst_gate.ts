import { sleep } from '../../lease/common/sleep.ts'

/** So many entries that go wrong at once are the beginning of more: a flush, or a device that is about to be deleted. */
const MANY = 8
/** A burst is over when nothing came for so long; it is waited for no longer than that. */
const CALM_MS = 10
const LONGEST_MS = 300

/** Counts announcements of wrong entries since the last round: a repair in the middle of a burst would be undone again. */
export class BurstGate {
  readonly #now: () => number
  #count = 0

  /** `now` is monotonic, in ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  count(): void {
    this.#count++
  }

  /** Waits for the end of a burst, if there is one; no longer once `isClear` says that its cause is known. */
  async pass(isClear: () => boolean, signal: AbortSignal): Promise<void> {
    const endMs = this.#now() + LONGEST_MS
    while (this.#count > MANY && !isClear() && this.#now() < endMs) {
      const seen = this.#count
      await sleep(CALM_MS, signal)
      if (this.#count === seen) break
    }
    this.#count = 0
  }
}
