/** Remembers troubles by key: each is reported when it appears and when its text changes. */
export class ReportOnce {
  readonly #said = new Map<string, string>()

  /** Whether to report the trouble now: it is new or its text changed. */
  isNew(key: string, words: string): boolean {
    if (this.#said.get(key) === words) return false
    this.#said.set(key, words)
    return true
  }

  /** Forgets the trouble. Returns whether it had been reported. */
  isOver(key: string): boolean {
    return this.#said.delete(key)
  }

  /** Takes all current troubles: reports new and changed ones, and calls `over` for those that ended. */
  settle(
    now: ReadonlyMap<string, string>,
    report: (key: string, words: string) => void,
    over: (key: string) => void = () => {},
  ): void {
    for (const [key, words] of now) if (this.isNew(key, words)) report(key, words)
    this.retain(now, over)
  }

  /** Forgets all other troubles, and calls `over` for each. */
  retain(now: { has(key: string): boolean }, over: (key: string) => void = () => {}): void {
    for (const key of this.#said.keys()) if (!now.has(key) && this.isOver(key)) over(key)
  }
}
