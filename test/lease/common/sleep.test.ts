import { describe, expect, it } from 'vitest'
import { sleep } from '../../../lease/common/sleep.ts'

describe('sleeping', () => {
  it('ends when the time is up', async () => {
    await expect(sleep(1, new AbortController().signal)).resolves.toBeUndefined()
  })

  it('rejects with the reason of the signal, however long it would have been', async () => {
    const stop = new AbortController()
    const sleeping = sleep(Number.POSITIVE_INFINITY, stop.signal)
    stop.abort('enough')
    await expect(sleeping).rejects.toBe('enough')
    await expect(sleep(1, stop.signal)).rejects.toBe('enough')
  })
})
