import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Pace } from '../../../lease/common/pace.ts'

const never = new AbortController().signal

describe('the pace of watches', () => {
  const options = { minMs: 100, maxMs: 400, random: () => 0, now: () => performance.now() }

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  async function waitAfter(pace: Pace, lastedMs: number, askedMs = 0): Promise<number> {
    pace.started()
    vi.advanceTimersByTime(lastedMs)
    const began = performance.now()
    const waiting = pace.next(never, askedMs)
    await vi.runAllTimersAsync()
    await waiting
    return Math.round(performance.now() - began)
  }

  it('slows down while each ends at once, and starts from the beginning after one that lasted', async () => {
    const pace = new Pace(options)
    const waits: number[] = []
    for (const lastedMs of [0, 0, 0, 0, 500, 0]) waits.push(await waitAfter(pace, lastedMs))
    expect(waits).toEqual([100, 200, 400, 400, 100, 200])
  })

  it('starts from the beginning only after a try that lasted as long as it is told', async () => {
    const pace = new Pace({ ...options, lastingMs: 400 })
    const waits: number[] = []
    for (const lastedMs of [0, 300, 300, 300, 500, 0]) waits.push(await waitAfter(pace, lastedMs))
    expect(waits).toEqual([100, 200, 400, 400, 100, 200])
  })

  it('spreads the waits of many nodes over a half', async () => {
    expect(await waitAfter(new Pace({ ...options, random: () => 0.98 }), 0)).toBe(51)
  })

  it('is never faster than the server asks for', async () => {
    expect(await waitAfter(new Pace(options), 0, 1_000)).toBe(1_000)
  })
})
