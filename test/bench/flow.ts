import { setTimeout as sleep } from 'node:timers/promises'
import type { Pod } from '../support/pod.ts'
import type { TrafficJob } from './jobs/traffic.ts'
import { Worker } from './worker.ts'

const PER_SECOND = 1_000

export interface Carried {
  readonly sent: number
  readonly lost: number
  /** Without a datagram. */
  readonly longestGapMs: number
  /** Without a byte of the stream. */
  readonly longestStallMs: number
}

/** 1,000 datagrams a second from one pod to another, and beside them a TCP stream. */
export class Flow {
  readonly #sender: Worker<TrafficJob>
  readonly #receiver: Worker<TrafficJob>
  readonly #to: string

  static async between(from: Pod, to: Pod): Promise<Flow> {
    const flow = new Flow(from, to)
    await flow.#receiver.call('listen')
    await flow.carry(async () => {}, 200)
    return flow
  }

  private constructor(from: Pod, to: Pod) {
    this.#sender = new Worker<TrafficJob>('traffic', { netns: from.netns })
    this.#receiver = new Worker<TrafficJob>('traffic', { netns: to.netns })
    this.#to = to.address()
  }

  /** While something is done, and until at least so many datagrams were sent. */
  async carry(during: () => Promise<unknown>, atLeast = 0): Promise<Carried> {
    await this.#receiver.call('received')
    const sending = this.#sender.call('send', this.#to, 1e9, PER_SECOND)
    const started = performance.now()
    try {
      await during()
      await sleep(Math.max(0, (atLeast / PER_SECOND) * 1_000 - (performance.now() - started)))
    } finally {
      await this.#sender.call('stop')
    }
    const sent = await sending
    await sleep(300)
    const { datagrams, longestGapMs, longestStallMs } = await this.#receiver.call('received')
    return { sent, lost: sent - datagrams, longestGapMs, longestStallMs }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sender[Symbol.asyncDispose]()
    await this.#receiver[Symbol.asyncDispose]()
  }
}
