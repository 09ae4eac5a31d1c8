import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { run } from '../support/exec.ts'
import { until } from '../support/until.ts'

/** What `ip monitor` said, on one line, and when it had that of the kernel. */
export interface Seen {
  /** Unix time in ms, to the microsecond. */
  readonly atMs: number
  readonly text: string
}

/**
 * What the kernel of a namespace announces, as iproute2 hears it: nothing of it is ours. An FDB entry of a VXLAN device comes
 * as a neighbor, `172.16.0.7 dev flannel.1 lladdr 02:be:04:00:00:07 NOARP PERMANENT`.
 */
export class Observer {
  readonly #child: ChildProcess
  #seen: Seen[] = []

  /** Listens when it resolves. */
  static async start(netns: string): Promise<Observer> {
    const observer = new Observer(netns)
    await observer.#listening(netns)
    return observer
  }

  private constructor(netns: string) {
    const flags = ['-tshort', '-netns', netns, '-rcvbuf', '67108864']
    const words = [...flags, 'monitor', 'link', 'address', 'route', 'neigh']
    const child = spawn('ip', words, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child = child
    createInterface({ input: child.stdout }).on('line', line => this.#hear(line))
  }

  /** How many lines there are: a mark for `sees` and `all`. */
  get mark(): number {
    return this.#seen.length
  }

  /** The first line from the mark on that matches. */
  async sees(pattern: RegExp, from: number, withinMs = 15_000): Promise<Seen> {
    let at = from
    const next = () => {
      for (; at < this.#seen.length; at++) if (pattern.test(this.#seen[at]?.text ?? '')) return this.#seen[at]
      return undefined
    }
    return await until(`ip monitor to say ${pattern}`, next, { withinMs, everyMs: 2 })
  }

  /** The first line behind that one that matches. */
  seesAfter(pattern: RegExp, earlier: Seen): Promise<Seen> {
    return this.sees(pattern, this.#seen.lastIndexOf(earlier) + 1)
  }

  /** The n-th such line from the mark on; n counts from 1. */
  async seesTimes(pattern: RegExp, n: number, from: number, withinMs = 60_000): Promise<Seen> {
    const nth = () => this.all(pattern, from)[n - 1]
    const otherwise = () => `${this.all(pattern, from).length} came`
    return await until(`ip monitor to say ${pattern} ${n} times`, nth, { withinMs, everyMs: 50, otherwise })
  }

  all(pattern: RegExp, from = 0): Seen[] {
    return this.#seen.slice(from).filter(({ text }) => pattern.test(text))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }

  #hear(line: string): void {
    const [, date, micro, text = ''] = /^\[(\S+?)\.(\d+)\]\s*(.*)$/.exec(line) ?? []
    const last = this.#seen.at(-1)
    if (date !== undefined) {
      this.#seen.push({ atMs: new Date(date).getTime() + Number(micro) / 1000, text: text.trim() })
    } else if (last !== undefined) {
      this.#seen[this.#seen.length - 1] = { ...last, text: `${last.text} ${line.trim()}` }
    }
  }

  /** The program does not say when it listens: a device comes and goes until it tells of it. */
  async #listening(netns: string): Promise<void> {
    const touch = ['ip', '-netns', netns, '-batch', '-']
    await until('ip monitor to listen', async () => {
      await run(touch, { input: 'link add bench0 type bridge\nlink delete bench0\n' })
      return this.all(/Deleted .*bench0/).length > 0
    })
    this.#seen = []
  }
}
