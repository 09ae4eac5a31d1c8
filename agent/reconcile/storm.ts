import { sleep } from '../../lease/common/sleep.ts'

/** So many entries that go wrong at once are the beginning of more: a device that dies, a flush. */
const MANY = 8
/** It is over when nothing came for so long, and waited for no longer than that. */
const CALM_MS = 10
const LONGEST_MS = 300

/**
 * Announcements that something is wrong, counted since the last round. What is put right in the middle of a storm is undone
 * again, or has no device any more.
 */
export class Storm {
  readonly #now: () => number
  #gusts = 0

  /** `now` is monotonic, in ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  gust(): void {
    this.#gusts++
  }

  /** Waits for its end, if there is one; no longer once `isClear`: then it is known what it was about. */
  async over(isClear: () => boolean, signal: AbortSignal): Promise<void> {
    const endMs = this.#now() + LONGEST_MS
    while (this.#gusts > MANY && !isClear() && this.#now() < endMs) {
      const seen = this.#gusts
      await sleep(CALM_MS, signal)
      if (this.#gusts === seen) break
    }
    this.#gusts = 0
  }
}
