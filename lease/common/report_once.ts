/** What was said of troubles that stand, by key: each is said when it comes and when its words change, not while it stands. */
export class ReportOnce {
  readonly #said = new Map<string, string>()

  /** Whether this is to be said now: it is new, or it was put otherwise. */
  isNew(key: string, words: string): boolean {
    if (this.#said.get(key) === words) return false
    this.#said.set(key, words)
    return true
  }

  /** It no longer stands. Whether it was said. */
  isOver(key: string): boolean {
    return this.#said.delete(key)
  }

  /** Takes all that stands now, words by key. */
  settle(
    now: ReadonlyMap<string, string>,
    report: (key: string, words: string) => void,
    over: (key: string) => void = () => {},
  ): void {
    for (const [key, words] of now) if (this.isNew(key, words)) report(key, words)
    for (const key of this.#said.keys()) if (!now.has(key) && this.isOver(key)) over(key)
  }
}
