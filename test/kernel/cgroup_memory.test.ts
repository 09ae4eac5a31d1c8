import { afterAll, describe, expect, it } from 'vitest'
import { readCgroupMemory } from '../../agent/status/cgroup_memory.ts'
import { Cgroup } from '../support/cgroup.ts'

const LIMIT = 2 ** 30
const BALLAST = 200 * 2 ** 20

const cgroup = Cgroup.make('memory', LIMIT)
afterAll(() => cgroup?.remove())

describe.skipIf(cgroup === undefined)('a process in a real cgroup', () => {
  it('reads its limit and what it uses of it', async () => {
    await cgroup?.holding(async () => {
      const empty = readCgroupMemory()
      expect(empty).toMatchObject({ limitBytes: LIMIT, cgroup: cgroup.folder })
      const ballast = Buffer.alloc(BALLAST, 1)
      const full = readCgroupMemory()
      const grown = (full?.usedBytes ?? 0) - (empty?.usedBytes ?? 0)
      expect(grown).toBeGreaterThan(0.9 * ballast.length)
      expect(grown).toBeLessThan(1.5 * ballast.length)
    })
  })
})
