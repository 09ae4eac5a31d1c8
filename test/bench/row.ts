/** One line of the table: a figure, and what it is held against. */
export interface Row {
  /** Starts with the letter of its group: `a  1,000 peers`. */
  readonly name: string
  readonly value: number
  /** Of `value`, `reference` and `target`: `ms`, `MB`, `packets`; `ratio` and counts have none (''). */
  readonly unit: string
  /** The same thing done by other means in the same run, on the same machine. */
  readonly reference?: number
  /** value / reference, where that says more than the value: what `target` then bounds. */
  readonly ratio?: number
  /** At most so much, of `ratio` where there is one, else of `value`. */
  readonly target?: number
  /** What has to be known to read it. */
  readonly note?: string
}
