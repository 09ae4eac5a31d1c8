import { describe, expect, test } from 'vitest'
import { EtcdError, etcdError } from '../../../lease/etcd/error.ts'
import { keysUnder } from '../../../lease/etcd/keys.ts'
import { Patience } from '../../../lease/etcd/patience.ts'
import { defaultTuning } from '../../../lease/etcd/tuning.ts'
import { RecordingLog } from '../../support/log.ts'

const { signal } = new AbortController()
const down = new EtcdError('trouble', 'http://a:1', 'connect ECONNREFUSED')

/** Waits nowhere: what would have been waited is what `waits` holds. */
class Impatient extends Patience {
  readonly waits: number[] = []
  readonly #random: () => number

  constructor(log: RecordingLog, random: () => number) {
    super(1, { ...defaultTuning, random }, log)
    this.#random = random
  }

  override rest(ms: number): Promise<void> {
    this.waits.push(ms * (1 - this.#random() / 2))
    return Promise.resolve()
  }
}

describe('trying again', () => {
  test('waits twice as long each time, up to five seconds, shortened by up to a half', async () => {
    for (const [random, expected] of [
      [0, [200, 400, 800, 1600, 3200, 5000, 5000]],
      [0.999_999, [100, 200, 400, 800, 1600, 2500, 2500]],
    ] as const) {
      const patience = new Impatient(new RecordingLog(), () => random)
      let left = 7
      await patience.until('do it', async () => (left-- > 0 ? Promise.reject(down) : 'done'), signal)
      expect(patience.waits.map(Math.round)).toEqual(expected)
    }
  })

  test('spreads five thousand nodes that lost etcd together', async () => {
    const firstTries = await Promise.all(
      Array.from({ length: 5_000 }, async () => {
        const patience = new Impatient(new RecordingLog(), Math.random)
        let left = 6
        await patience.until('do it', async () => (left-- > 0 ? Promise.reject(down) : 'done'), signal)
        return patience.waits.reduce((sum, ms) => sum + ms, 0)
      }),
    )
    const perTenth = new Map<number, number>()
    for (const at of firstTries)
      perTenth.set(Math.floor(at / 100), (perTenth.get(Math.floor(at / 100)) ?? 0) + 1)
    expect(Math.max(...perTenth.values())).toBeLessThan(300)
  })

  test('is logged once for each cause, and once when all is over', async () => {
    const log = new RecordingLog()
    const patience = new Patience(1, defaultTuning, log)
    for (const activity of ['keep the lease', 'watch the peers', 'keep the lease'])
      patience.met(activity, down, signal)
    expect(patience.trouble).toBe('etcd at http://a:1: connect ECONNREFUSED')
    patience.over('keep the lease')
    expect(patience.trouble).toBe('etcd at http://a:1: connect ECONNREFUSED')
    patience.over('watch the peers')
    expect(patience.trouble).toBeUndefined()
    expect(log.lines.map(line => line.message)).toEqual([
      'Cannot keep the lease, trying again: etcd at http://a:1: connect ECONNREFUSED',
      expect.stringMatching(/^Can watch the peers again, after 0\.\d s$/),
    ])
  })

  test('is not for what is no trouble with etcd', async () => {
    const patience = new Patience(1, defaultTuning, new RecordingLog())
    await expect(
      patience.until('do it', () => Promise.reject(new TypeError('a bug')), signal),
    ).rejects.toThrow('a bug')
  })
})

test('a trouble is said in the words that an operator can act on', () => {
  const say = (message: string) => etcdError(new Error(message), 'http://a:1').message
  expect(
    say(
      '14 UNAVAILABLE: No connection established. Last error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ',
    ),
  ).toBe('etcd at http://a:1: connect ECONNREFUSED 127.0.0.1:1')
  expect(
    say('GRPCDeadlineExceededError: 4 DEADLINE_EXCEEDED: Deadline exceeded after 2.000s,LB pick: 0.001s'),
  ).toBe('etcd at http://a:1: no answer in time')
  expect(say('8 RESOURCE_EXHAUSTED: etcdserver: mvcc: database space exceeded')).toBe(
    'etcd at http://a:1: mvcc: database space exceeded (compact and defragment it, then `etcdctl alarm disarm`)',
  )
})

test('the range of a prefix ends where the next prefix begins', () => {
  expect(keysUnder('/coreos.com/network/subnets/')).toEqual({
    from: '/coreos.com/network/subnets/',
    to: '/coreos.com/network/subnets0',
  })
})
