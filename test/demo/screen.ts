import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

/** What the viewer sees: plain text, at most 100 columns, colours on a terminal only. */
export class Screen {
  readonly #silent: boolean
  readonly #colours: boolean

  constructor({ silent }: { silent: boolean }) {
    this.#silent = silent
    this.#colours = process.stdout.isTTY === true && !process.env.NO_COLOR
  }

  line(text = ''): void {
    if (!this.#silent) process.stdout.write(`${text}\n`)
  }

  heading(text: string, note = ''): void {
    this.line()
    this.line(`${this.styled('bold', text)}${note === '' ? '' : this.styled('dim', `  ${note}`)}`)
  }

  /** Text of several lines, indented. */
  block(text: string): void {
    for (const line of text.trimEnd().split('\n')) this.line(`  ${line}`.trimEnd())
  }

  /** One line of figures: a name and what there is to say of it. */
  fact(name: string, text: string, note = ''): void {
    this.line(`  ${name.padEnd(22)} ${text}${note === '' ? '' : this.styled('dim', `  ${note}`)}`)
  }

  /** Does something and then says what, and how long it took. */
  async step<T>(name: string, work: () => Promise<T>, say: (result: T) => string): Promise<T> {
    const start = performance.now()
    const result = await work()
    this.fact(name, say(result), `${seconds(performance.now() - start)} s`)
    return result
  }

  styled(style: Style, text: string): string {
    return this.#colours ? styleText(style, text) : text
  }
}

export function seconds(ms: number): string {
  return (ms / 1000).toFixed(1)
}

export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`
}

export function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length % 2 === 1) return sorted[middle]
  const [low, high] = [sorted[middle - 1], sorted[middle]]
  return low === undefined || high === undefined ? undefined : (low + high) / 2
}
