import { describe, expect, it } from 'vitest'
import { BurstGate } from '../../../agent/reconcile/burst_gate.ts'

const signal = new AbortController().signal

describe('a burst of changes', () => {
  it('is none where few things change: nothing is waited for', async () => {
    const gate = new BurstGate(() => 0)
    for (let i = 0; i < 8; i++) gate.count()
    let looked = 0
    await gate.pass(() => ++looked > 0, signal)
    expect(looked).toBe(0)
  })

  it('is waited for as long as it lasts, and no longer', async () => {
    const gate = new BurstGate(() => 0)
    for (let i = 0; i < 9; i++) gate.count()
    let left = 5
    const blowing = setInterval(() => {
      if (left-- > 0) gate.count()
    }, 2)
    await gate.pass(() => false, signal)
    clearInterval(blowing)
    expect(left).toBeLessThanOrEqual(0)
  })

  it('is over once it is clear what it was about, and at last by the clock', async () => {
    let nowMs = 0
    const gate = new BurstGate(() => nowMs)
    const blow = () => {
      for (let i = 0; i < 9; i++) gate.count()
    }
    blow()
    await gate.pass(() => true, signal)
    expect(nowMs).toBe(0)
    blow()
    const blowing = setInterval(blow, 2)
    await gate.pass(() => {
      nowMs += 100
      return false
    }, signal)
    clearInterval(blowing)
    expect(nowMs).toBe(300)
  })

  it('is over at once where it is explained while it is waited for', async () => {
    const gate = new BurstGate(() => 0)
    for (let i = 0; i < 9; i++) gate.count()
    let isClear = false
    let hasCounted = false
    const passed = gate.pass(() => isClear, signal)
    setImmediate(() => {
      isClear = true
      gate.explain()
      setImmediate(() => {
        hasCounted = true
      })
    })
    await passed
    expect(hasCounted).toBe(false)
  })

  it('is waited for although another one was explained before', async () => {
    const gate = new BurstGate(() => 0)
    gate.explain()
    for (let i = 0; i < 9; i++) gate.count()
    let hasWaited = false
    setImmediate(() => {
      hasWaited = true
    })
    await gate.pass(() => false, signal)
    expect(hasWaited).toBe(true)
  })

  it('does not outlast the signal', async () => {
    const stop = new AbortController()
    const gate = new BurstGate(() => 0)
    for (let i = 0; i < 9; i++) gate.count()
    const over = gate.pass(() => false, stop.signal)
    stop.abort(new Error('stopped'))
    await expect(over).rejects.toThrow('stopped')
  })
})
