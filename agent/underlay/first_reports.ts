/** An interface that comes and goes with ever new addresses has ever new texts. */
const MAX_REPORTS = 50

/** Remembers what was reported: each text once, and only the first MAX_REPORTS of them. */
export class FirstReports {
  readonly #reported = new Set<string>()

  isNew(text: string): boolean {
    if (this.#reported.has(text) || this.#reported.size >= MAX_REPORTS) return false
    this.#reported.add(text)
    return true
  }
}
