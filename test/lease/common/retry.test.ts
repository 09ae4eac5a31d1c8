import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ExpectedError } from '../../../lease/common/errors.ts'
import { Retrier, type RetryOptions } from '../../../lease/common/retry.ts'
import { RecordingLog } from '../../support/log.ts'

const { signal } = new AbortController()
const down = new ExpectedError('connect ECONNREFUSED')

function options(log = new RecordingLog(), others: Partial<RetryOptions> = {}): RetryOptions {
  return {
    minMs: 200,
    maxMs: 5_000,
    away: { failures: 2, afterMs: 1_000 },
    isTrouble: error => error instanceof ExpectedError,
    sayAfterMs: 0,
    random: () => 0,
    now: () => 0,
    log,
    ...others,
  }
}

/** Waits nowhere: what would have been waited is what `waits` holds. */
class Impatient extends Retrier {
  readonly waits: number[] = []
  readonly #random: () => number

  constructor(random: () => number, others: Partial<RetryOptions> = {}) {
    super(options(new RecordingLog(), { random, ...others }))
    this.#random = random
  }

  override rest(ms: number, _: AbortSignal, askedMs = 0): Promise<void> {
    this.waits.push(Math.max(askedMs, ms * (1 - this.#random() / 2)))
    return Promise.resolve()
  }

  /** The waits until the act has failed so often and then works. */
  async after(failures: number): Promise<readonly number[]> {
    let left = failures
    await this.until('do it', async () => (left-- > 0 ? Promise.reject(down) : 'done'), signal)
    return this.waits
  }
}

describe('trying again', () => {
  it('waits twice as long each time, up to the limit, shortened by up to a half', async () => {
    const whole = await new Impatient(() => 0).after(7)
    expect(whole).toEqual([200, 400, 800, 1600, 3200, 5000, 5000])
    const half = await new Impatient(() => 0.999_999).after(7)
    expect(half.map(Math.round)).toEqual([100, 200, 400, 800, 1600, 2500, 2500])
  })

  it('waits no less than the server asks for', async () => {
    expect(await new Impatient(() => 0, { askedMs: () => 1_000 }).after(4)).toEqual([1000, 1000, 1000, 1600])
  })

  it('spreads five thousand nodes that lost their store together', async () => {
    const perTenth = new Map<number, number>()
    for (let node = 0; node < 5_000; node++) {
      const waits = await new Impatient(Math.random).after(6)
      const at = Math.floor(waits.reduce((sum, ms) => sum + ms, 0) / 100)
      perTenth.set(at, (perTenth.get(at) ?? 0) + 1)
    }
    expect(Math.max(...perTenth.values())).toBeLessThan(300)
  })

  it('is not for what is no trouble with the store, nor for what is final', async () => {
    const retrier = new Retrier(options())
    const bug = retrier.until('do it', () => Promise.reject(new TypeError('a bug')), signal)
    await expect(bug).rejects.toThrow('a bug')
    const gone = retrier.until(
      'do it',
      () => Promise.reject(down),
      signal,
      () => true,
    )
    await expect(gone).rejects.toBe(down)
    expect(retrier.trouble).toBeUndefined()
  })

  it('ends with the reason of the signal', async () => {
    const stop = new AbortController()
    const trying = new Retrier(options()).until('do it', () => Promise.reject(down), stop.signal)
    stop.abort('enough')
    await expect(trying).rejects.toBe('enough')
  })

  it('takes another answer once the store was tried often enough, or for long enough', async () => {
    const instead = async (retrier: Retrier) => {
      let tries = 0
      const act = () => Promise.reject(++tries && down)
      const answer = await retrier.untilOr('do it', act, () => 'remembered', signal)
      return `${answer} after ${tries}`
    }
    expect(await instead(new Impatient(() => 0))).toBe('remembered after 2')
    let nowMs = 0
    const slow = { now: () => (nowMs += 1_000), away: { failures: 9, afterMs: 2_500 } }
    expect(await instead(new Impatient(() => 0, slow))).toMatch(/^remembered after [123]$/)
  })
})

describe('troubles', () => {
  it('are logged once for each cause, and once when all are over', () => {
    const log = new RecordingLog()
    let nowMs = 0
    const retrier = new Retrier(options(log, { now: () => nowMs }))
    for (const activity of ['keep the lease', 'watch the peers', 'keep the lease'])
      retrier.failed(activity, down, signal)
    nowMs = 1_500
    expect(retrier.trouble).toBe('connect ECONNREFUSED')
    retrier.over('keep the lease')
    expect(retrier.trouble).toBe('connect ECONNREFUSED')
    retrier.over('watch the peers')
    expect(retrier.trouble).toBeUndefined()
    expect(log.lines.map(line => line.message)).toEqual([
      'Cannot keep the lease, trying again: connect ECONNREFUSED',
      'Can watch the peers again, after 1.5 s',
    ])
  })

  it('are shown by the newest of them', () => {
    const retrier = new Retrier(options())
    retrier.note('a', 'first')
    retrier.note('b', 'second')
    retrier.note('a', 'third')
    expect(retrier.trouble).toBe('third')
    retrier.over('a')
    expect(retrier.trouble).toBe('second')
  })

  it('that come and go are logged once in five minutes', () => {
    const log = new RecordingLog()
    let nowMs = 0
    const retrier = new Retrier(options(log, { now: () => nowMs }))
    for (; nowMs <= 300_000; nowMs += 1_000) {
      retrier.note('watch', 'cut off')
      retrier.over('watch')
    }
    expect(log.lines.map(line => line.message)).toEqual([
      'Cannot watch, trying again: cut off',
      'Can watch again, after 0.0 s',
      'Cannot watch, trying again: cut off',
      'Can watch again, after 0.0 s',
    ])
  })

  it('of any number of texts fill no log', () => {
    const log = new RecordingLog()
    const retrier = new Retrier(options(log))
    for (let i = 0; i < 1_000; i++) retrier.note('watch', `answer ${i}`)
    expect(log.lines).toHaveLength(20)
  })

  it('are errors where an operator has to mend them', () => {
    const log = new RecordingLog()
    new Retrier(options(log, { needsOperator: () => true })).failed('list', down, signal)
    expect(log.lines.map(line => line.level)).toEqual(['error'])
  })

  it('that are only waits are shown and not logged', () => {
    const log = new RecordingLog()
    const retrier = new Retrier(options(log))
    retrier.wait('wait for the Node', 'no podCIDR is assigned')
    expect(retrier.trouble).toBe('no podCIDR is assigned')
    retrier.clear('wait for the Node')
    expect([retrier.trouble, log.lines]).toEqual([undefined, []])
  })
})

describe('troubles that end soon', () => {
  const log = new RecordingLog()
  const said = () => log.lines.filter(({ level }) => level !== 'debug').map(({ message }) => message)
  let retrier: Retrier
  beforeEach(() => {
    vi.useFakeTimers()
    log.lines.length = 0
    retrier = new Retrier(options(log, { sayAfterMs: 3_000, now: () => performance.now() }))
  })
  afterEach(() => vi.useRealTimers())

  const failFor = (ms: number) => {
    retrier.failed('watch', down, signal)
    vi.advanceTimersByTime(ms)
    retrier.over('watch')
  }

  it('are shown at once and logged for debugging only, as while etcd chooses another leader', () => {
    retrier.failed('watch', down, signal)
    expect(retrier.trouble).toBe('connect ECONNREFUSED')
    expect(log.lines.map(({ level, message }) => `${level}: ${message}`)).toEqual([
      'debug: Cannot watch, trying again: connect ECONNREFUSED',
    ])
    vi.advanceTimersByTime(2_900)
    retrier.over('watch')
    vi.advanceTimersByTime(60_000)
    expect(said()).toEqual([])
  })

  it('are logged when they last, though no further try has failed yet', () => {
    retrier.failed('watch', down, signal)
    vi.advanceTimersByTime(3_000)
    expect(said()).toEqual(['Cannot watch, trying again: connect ECONNREFUSED'])
    vi.advanceTimersByTime(1_000)
    retrier.over('watch')
    expect(said().at(-1)).toBe('Can watch again, after 4.0 s')
  })

  it('are logged when they come again and again', () => {
    for (let i = 0; i < 3; i++) failFor(1_000)
    expect(said()).toEqual([])
    failFor(1_000)
    expect(said()[0]).toBe('Cannot watch, trying again: connect ECONNREFUSED')
  })

  it('are logged at once where an operator has to mend them', () => {
    const strict = new Retrier(options(log, { sayAfterMs: 3_000, needsOperator: () => true }))
    strict.failed('list', down, signal)
    expect(said()).toHaveLength(1)
  })
})
