import { describe, expect, it } from 'vitest'
import { Storm } from '../../../agent/reconcile/storm.ts'

const signal = new AbortController().signal

describe('a storm of changes', () => {
  it('is none where few things change: nothing is waited for', async () => {
    const storm = new Storm(() => 0)
    for (let i = 0; i < 8; i++) storm.gust()
    let looked = 0
    await storm.over(() => ++looked > 0, signal)
    expect(looked).toBe(0)
  })

  it('is waited for as long as it goes on, and no longer', async () => {
    const storm = new Storm(() => 0)
    for (let i = 0; i < 9; i++) storm.gust()
    let left = 5
    const blowing = setInterval(() => {
      if (left-- > 0) storm.gust()
    }, 2)
    await storm.over(() => false, signal)
    clearInterval(blowing)
    expect(left).toBeLessThanOrEqual(0)
  })

  it('is over once it is clear what it was about, and at last by the clock', async () => {
    let nowMs = 0
    const storm = new Storm(() => nowMs)
    const blow = () => {
      for (let i = 0; i < 9; i++) storm.gust()
    }
    blow()
    await storm.over(() => true, signal)
    expect(nowMs).toBe(0)
    blow()
    const blowing = setInterval(blow, 2)
    await storm.over(() => {
      nowMs += 100
      return false
    }, signal)
    clearInterval(blowing)
    expect(nowMs).toBe(300)
  })

  it('does not outlast the signal', async () => {
    const stop = new AbortController()
    const storm = new Storm(() => 0)
    for (let i = 0; i < 9; i++) storm.gust()
    const over = storm.over(() => false, stop.signal)
    stop.abort(new Error('stopped'))
    await expect(over).rejects.toThrow('stopped')
  })
})
