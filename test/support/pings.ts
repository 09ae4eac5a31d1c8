import type { Namespace } from './namespace.ts'
import type { Pod } from './pod.ts'
import { EndedError, type Process } from './process.ts'
import { until } from './until.ts'

/** A namespace that sends pings, and the address that it sends them to. */
export type Way = readonly [from: Namespace, to: string]

export function bothWays(a: Pod, b: Pod): readonly Way[] {
  return [
    [a, b.address()],
    [b, a.address()],
  ]
}

/** Waits until three pings in a row are answered. */
export async function untilReached(from: Namespace, to: string): Promise<void> {
  await until(`${from.name} to reach ${to}`, async () => (await from.ping(to)).length === 3)
}

/** Answers to wait for after `act` has ended, so that a loss at its very end shows too. */
const AFTERWARDS = 500

/**
 * Pings every millisecond before, during and after `act`. Returns a sentence for each way that lost pings. A
 * ping counts as lost only where a later one was answered: ping may end before a busy machine delivers the
 * last answers. All ways must carry traffic at the start.
 */
export async function lostWhile(
  ways: readonly Way[],
  act: () => Promise<unknown> = async () => {},
): Promise<string[]> {
  const pings = ways.map(([from, to]) => new Pings(from, to))
  try {
    await Promise.all(pings.map(one => one.answersMore(1)))
    await act()
    await Promise.all(pings.map(one => one.answersMore(AFTERWARDS)))
  } finally {
    await Promise.all(pings.map(one => one.stop()))
  }
  return pings.flatMap(one => one.loss() ?? [])
}

/** A ping that runs until it is stopped. */
class Pings {
  readonly #what: string
  readonly #process: Process

  constructor(from: Namespace, to: string) {
    this.#what = `${from.name} to ${to}`
    this.#process = from.spawn(['ping', '-n', '-i', '0.001', to])
  }

  async answersMore(many: number): Promise<void> {
    const goal = this.#answered().size + many
    const isThere = () => {
      if (this.#process.exit !== undefined) throw new EndedError(this.#process)
      return this.#answered().size >= goal
    }
    const otherwise = () => this.#process.text().slice(-1000)
    await until(`${many} more answers to pings from ${this.#what}`, isThere, { everyMs: 100, otherwise })
  }

  async stop(): Promise<void> {
    await this.#process.stop('SIGINT')
  }

  loss(): string | undefined {
    const answered = this.#answered()
    const last = Array.from(answered).reduce((a, b) => Math.max(a, b), 0)
    const lost = Array.from({ length: last }, (_, i) => i + 1).filter(n => !answered.has(n))
    if (lost.length === 0) return undefined
    return `${this.#what}: ${lost.length} of ${last} pings lost, from the ${lost[0]}th to the ${lost.at(-1)}th`
  }

  /** Numbers of the answered pings, from 1. ICMP counts to 65,535 and starts again. */
  #answered(): ReadonlySet<number> {
    const answered = new Set<number>()
    let at = 0
    for (const [, sequence] of this.#process.text().matchAll(/ bytes from .* icmp_seq=(\d+)/g)) {
      at += ((Number(sequence) - at + 0x8000) & 0xffff) - 0x8000
      answered.add(at)
    }
    return answered
  }
}
