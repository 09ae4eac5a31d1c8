import { describe, expect, it } from 'vitest'
import { WakeUp } from '../../../lease/common/wake_up.ts'

const never = new AbortController().signal
const turn = () => new Promise(resolve => setTimeout(resolve, 5))
const forever = Number.POSITIVE_INFINITY

describe('a wake-up', () => {
  it('wakes who waits', async () => {
    const wakeUp = new WakeUp()
    const waiting = wakeUp.wait(forever, never)
    wakeUp.set()
    await expect(waiting).resolves.toBeUndefined()
  })

  it('is not lost where there is no waiter yet, and wakes once however often it was set', async () => {
    const wakeUp = new WakeUp()
    wakeUp.set()
    wakeUp.set()
    await wakeUp.wait(forever, never)
    const second = wakeUp.wait(forever, never).then(() => 'woken')
    expect(await Promise.race([second, Promise.resolve('asleep')])).toBe('asleep')
    wakeUp.set()
    expect(await second).toBe('woken')
  })

  it('wakes all that wait', async () => {
    const wakeUp = new WakeUp()
    const waiting = [1, 2, 3].map(() => wakeUp.wait(forever, never))
    wakeUp.set()
    wakeUp.set()
    await Promise.all(waiting)
    const next = wakeUp.wait(forever, never).then(() => 'woken')
    expect(await Promise.race([next, turn().then(() => 'asleep')])).toBe('asleep')
  })

  it('is kept for the next wait where it comes while the woken one works', async () => {
    const wakeUp = new WakeUp()
    const woken = [0, 1].map(async () => {
      await wakeUp.wait(forever, never)
      wakeUp.set()
    })
    wakeUp.set()
    await Promise.all(woken)
    await expect(wakeUp.wait(forever, never)).resolves.toBeUndefined()
  })

  it('leaves the others waiting where one of them gives up', async () => {
    const wakeUp = new WakeUp()
    const stop = new AbortController()
    const leaving = wakeUp.wait(forever, stop.signal)
    const staying = wakeUp.wait(forever, never)
    stop.abort('enough')
    await expect(leaving).rejects.toBe('enough')
    wakeUp.set()
    await expect(staying).resolves.toBeUndefined()
  })

  it('is in time for a wait that Node could not time', async () => {
    const waiting = new WakeUp().wait(2 ** 40, never).then(() => 'woken')
    expect(await Promise.race([waiting, turn().then(() => 'asleep')])).toBe('asleep')
  })

  it('comes by itself when the time is up', async () => {
    await expect(new WakeUp().wait(1, never)).resolves.toBeUndefined()
  })

  it('rejects with the reason of the signal, and can be waited for again', async () => {
    const wakeUp = new WakeUp()
    const stop = new AbortController()
    const waiting = wakeUp.wait(forever, stop.signal)
    stop.abort('enough')
    await expect(waiting).rejects.toBe('enough')
    await expect(wakeUp.wait(forever, stop.signal)).rejects.toBe('enough')
    wakeUp.set()
    await wakeUp.wait(forever, never)
  })
})
