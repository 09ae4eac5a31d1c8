import { printable } from '../../../lease/common/printable.ts'
import type { Output } from './output.ts'

const LONGEST = 1_000

/** On a terminal one line that changes in place, elsewhere a line for each change. */
export class ProgressLine {
  readonly #out: Output
  #isShown = false

  constructor(out: Output) {
    this.#out = out
  }

  show(text: string): void {
    if (!this.#out.isTTY) {
      this.write(`  ${text}`)
      return
    }
    this.#out.write(
      `\r\u001b[K  ${printable(text, LONGEST).slice(0, Math.max(10, (this.#out.columns ?? 80) - 3))}`,
    )
    this.#isShown = true
  }

  write(text: string): void {
    this.end()
    this.#out.write(`${printable(text, LONGEST)}\n`)
  }

  /** Ends the shown line, so that other output starts on a new one. */
  end(): void {
    if (this.#isShown) this.#out.write('\r\u001b[K')
    this.#isShown = false
  }
}
