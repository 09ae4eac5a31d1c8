import { describe, expect, it } from 'vitest'
import { WakeUp } from '../../../lease/common/wake_up.ts'

const never = new AbortController().signal
const forever = Number.POSITIVE_INFINITY

describe('a wake-up', () => {
  it('wakes who waits', async () => {
    const wakeUp = new WakeUp()
    const waiting = wakeUp.wait(forever, never)
    wakeUp.set()
    await expect(waiting).resolves.toBeUndefined()
  })

  it('is not lost where nobody waits yet, and wakes once however often it was set', async () => {
    const wakeUp = new WakeUp()
    wakeUp.set()
    wakeUp.set()
    await wakeUp.wait(forever, never)
    const second = wakeUp.wait(forever, never).then(() => 'woken')
    expect(await Promise.race([second, Promise.resolve('asleep')])).toBe('asleep')
    wakeUp.set()
    expect(await second).toBe('woken')
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
