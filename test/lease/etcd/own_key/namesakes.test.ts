import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { KeyRange, KeyValue, Transaction, WatchBatch } from '../../../../lease/etcd/client/keys.ts'
import { Namesakes } from '../../../../lease/etcd/own_key/namesakes.ts'
import type { EtcdContext } from '../../../../lease/etcd/records/context.ts'
import { parseIp } from '../../../../lease/net/ip.ts'
import { hostGwLease } from '../../../support/leases.ts'
import { RecordingLog } from '../../../support/log.ts'
import { until } from '../../../support/until.ts'

const publicIp = '192.168.0.1'
const leaseOf = (node: string) => hostGwLease(node, `10.1.${node.slice(1)}.0/24 at ${publicIp}`)

/** An etcd in which the agents of some keys answer when their key is touched. */
class Bed {
  /** Nodes whose agent was asked, in order. */
  readonly asked: string[] = []
  readonly alive = new Set<string>()
  readonly conflicts = new Map<string, string>()
  readonly log = new RecordingLog()
  readonly #stop = new AbortController()
  readonly ctx: EtcdContext

  constructor(nodes: readonly string[]) {
    const client = {
      range: async ({ from }: KeyRange) => ({ kvs: [this.#kv(from, '1')] }),
      commit: async ({ changes: [change] }: Transaction) => {
        if (change !== undefined && 'touch' in change) this.asked.push(change.touch)
        return { held: true, revision: 2 }
      },
      watch: (range: KeyRange, _: number, signal: AbortSignal) => this.#answers(range, signal),
    }
    const known = {
      client,
      conflicts: this.conflicts,
      folder: '',
      lastSeen: { leases: nodes.map(leaseOf) },
      log: this.log,
      retrier: { until: (_: string, act: () => Promise<unknown>) => act() },
      tuning: { askMs: 1, checkMs: 1 },
    }
    this.ctx = known as unknown as EtcdContext
    const namesakes = new Namesakes(this.ctx, () => leaseOf('n0'), [parseIp(publicIp)])
    namesakes.run(this.#stop.signal).catch(() => {})
  }

  stop(): void {
    this.#stop.abort(new Error('the test is over'))
  }

  async *#answers({ from }: KeyRange, signal: AbortSignal): AsyncGenerator<Partial<WatchBatch>> {
    if (this.alive.has(from)) yield { through: 3, puts: [this.#kv(from, '2')] }
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  }

  #kv(key: string, leaseId: string): KeyValue {
    return { key, value: '{}', createRevision: 1, modRevision: 1, leaseId }
  }
}

describe('leases with our public IP', () => {
  const nodes = Array.from({ length: 20 }, (_, i) => `n${i + 1}`)
  let bed: Bed
  beforeEach(() => {
    bed = new Bed(nodes)
  })
  afterEach(() => bed.stop())

  it('are all asked, eight in one round, and each silent one once', async () => {
    await until('all to be asked', () => bed.asked.length === nodes.length)
    expect(bed.asked.toSorted()).toEqual(nodes.toSorted())
  })

  it('of which a later one answers are reported, for as long as it answers', async () => {
    bed.alive.add('n20')
    const timesAsked = () => bed.asked.filter(node => node === 'n20').length
    await until('it to be asked again and again', () => timesAsked() > 10)
    expect([...bed.conflicts.values()].join()).toContain('another host has our public IP')
    expect(bed.log.lines.map(({ message }) => message.split(':')[0])).toEqual([
      'another host has our public IP',
    ])
  })

  it('are forgotten where they are gone: one that comes again is asked again', async () => {
    await until('all to be asked', () => bed.asked.length === nodes.length)
    bed.ctx.onGone('n7')
    bed.ctx.onLease(leaseOf('n7'))
    await until('it to be asked', () => bed.asked.length > nodes.length)
    expect(bed.asked.at(-1)).toBe('n7')
  })
})
