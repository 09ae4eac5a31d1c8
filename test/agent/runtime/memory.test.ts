import { getHeapStatistics } from 'node:v8'
import { expect, it } from 'vitest'
import { releaseStartMemory } from '../../../agent/runtime/memory.ts'

const heapMegabytes = () => getHeapStatistics().total_physical_size / 2 ** 20

it('what only the start needed goes back to the kernel', async () => {
  let held: unknown[] | undefined = Array.from({ length: 500_000 }, (_, i) => ({ text: `lease ${i}` }))
  const full = heapMegabytes()
  expect(held.length).toBe(500_000)
  held = undefined
  await releaseStartMemory()
  expect(full - heapMegabytes()).toBeGreaterThan(15)
})
