import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Cgroup } from './cgroup.ts'

const first = Cgroup.make('pids', 100)

describe.skipIf(first === undefined)('a cgroup of a test', () => {
  it('is not the one that another process with the same pid has made', async () => {
    const second = Cgroup.make('pids', 100)
    expect(second?.folder).not.toBe(first?.folder)
    await second?.remove()
    expect(existsSync(first?.folder ?? '')).toBe(true)
    await first?.remove()
    expect(existsSync(first?.folder ?? '')).toBe(false)
  })
})
