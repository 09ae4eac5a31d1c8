/** Durations counted by upper bound, as in a Prometheus histogram. */
export class Histogram {
  /** In seconds, ascending. */
  readonly bounds: readonly number[]
  /** One count for each bound, and one for durations above all bounds. */
  readonly #counts: number[]
  #sumSeconds = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.#counts = new Array<number>(bounds.length + 1).fill(0)
  }

  observe(ms: number): void {
    const seconds = ms / 1000
    const place = this.bounds.findIndex(bound => seconds <= bound)
    const index = place === -1 ? this.bounds.length : place
    this.#counts[index] = (this.#counts[index] ?? 0) + 1
    this.#sumSeconds += seconds
  }

  get sumSeconds(): number {
    return this.#sumSeconds
  }

  get count(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0)
  }

  /** How many durations are at most each bound; the last is `+Inf`. */
  cumulative(): readonly (readonly [string, number])[] {
    let sum = 0
    return this.#counts.map((count, i) => {
      sum += count
      return [`${this.bounds[i] ?? '+Inf'}`, sum]
    })
  }
}
