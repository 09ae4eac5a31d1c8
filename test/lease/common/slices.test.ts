import { expect, it } from 'vitest'
import { Slices } from '../../../lease/common/slices.ts'

it('work in slices lets the event loop turn, however much of it there is', async () => {
  const slices = new Slices()
  let turns = 0
  let isDone = false
  const count = () => {
    turns++
    if (!isDone) setImmediate(count)
  }
  setImmediate(count)
  for (let i = 0; i < 50; i++) await slices.next()
  expect(turns).toBe(0)
  for (let i = 0; i < 1_000; i++) await slices.next()
  expect(turns).toBeGreaterThanOrEqual(20)
  isDone = true
})
