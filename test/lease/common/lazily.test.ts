import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { LoadError, lazily } from '../../../lease/common/lazily.ts'
import { until } from '../../support/until.ts'

function hasDescriptor(): boolean {
  try {
    closeSync(openSync('/dev/null', 'r'))
    return true
  } catch {
    return false
  }
}

describe('a part of the program that is loaded when it is needed', () => {
  it('is loaded once', async () => {
    let times = 0
    const load = lazily(async () => ++times)
    expect(await Promise.all([load(), load()])).toEqual([1, 1])
    expect(await load()).toBe(1)
  })

  it('is not tried without descriptors, and loaded when there are some again', async () => {
    let times = 0
    const load = lazily(async () => ++times)
    const [, before = ''] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? []
    const limit = (most: string) => `prlimit --pid ${process.pid} --nofile=${most}:`
    // It stops itself in between: to start another program would take descriptors.
    const child = spawn('sh', ['-c', `${limit('3')}; kill -STOP $$; ${limit(before)}`], { stdio: 'ignore' })
    await until('no descriptor to be left', () => !hasDescriptor())
    const refused = await load().catch((error: unknown) => error)
    // It may not have stopped yet: then it stops after this one.
    await until('descriptors', () => hasDescriptor() || !child.kill('SIGCONT'))
    expect(refused).toBeInstanceOf(LoadError)
    expect((refused as Error).message).toMatch(/EMFILE/)
    expect(times).toBe(0)
    expect(await load()).toBe(1)
  })
})
