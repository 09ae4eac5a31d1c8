import { setImmediate as nextTurn } from 'node:timers/promises'

/** Pieces of work in one slice; each takes at most about 0.1 ms. */
const PIECES = 50

/**
 * Divides work that foreign input causes, with a turn of the event loop after each slice: a stream whose next
 * value has arrived never turns it, and a flood would hold up the kernel's answers, timers and HTTP.
 */
export class Slices {
  #left = PIECES

  next(): Promise<void> | undefined {
    this.#left--
    if (this.#left >= 0) return undefined
    this.#left = PIECES - 1
    return nextTurn()
  }
}
