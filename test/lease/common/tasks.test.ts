import { describe, expect, it } from 'vitest'
import { sleep } from '../../../lease/common/sleep.ts'
import { runTogether } from '../../../lease/common/tasks.ts'

const never = new AbortController().signal
const untilAborted = (signal: AbortSignal) => sleep(Number.POSITIVE_INFINITY, signal)
const failing = (message: string) => () => Promise.reject(new Error(message))

describe('tasks side by side', () => {
  it('end together when one of them ends', async () => {
    const ended: string[] = []
    const other = (signal: AbortSignal) => untilAborted(signal).finally(() => ended.push('other'))
    await runTogether(never, [other, () => Promise.resolve()])
    expect(ended).toEqual(['other'])
  })

  it('end with the failure of the one that failed, after all have ended', async () => {
    const ended: string[] = []
    const slow = async (signal: AbortSignal) => {
      await untilAborted(signal).catch(() => {})
      await sleep(1, never)
      ended.push('slow')
    }
    await expect(runTogether(never, [slow, failing('broken')])).rejects.toThrow('broken')
    expect(ended).toEqual(['slow'])
  })

  it('end with the first failure, not with one that came while they were stopped', async () => {
    const late = (signal: AbortSignal) => untilAborted(signal).catch(() => Promise.reject(new Error('late')))
    await expect(runTogether(never, [late, failing('first')])).rejects.toThrow('first')
  })

  it('end without a failure when they are stopped', async () => {
    const stop = new AbortController()
    const running = runTogether(stop.signal, [untilAborted, untilAborted])
    stop.abort(new Error('enough'))
    await expect(running).resolves.toBeUndefined()
  })

  it('take an error in the name of an abort for a failure while nothing is stopped', async () => {
    const aborted = () => Promise.reject(new DOMException('of something else', 'AbortError'))
    await expect(runTogether(never, [aborted])).rejects.toThrow('of something else')
  })
})
