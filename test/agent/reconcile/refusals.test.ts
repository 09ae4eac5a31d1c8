import { expect, it } from 'vitest'
import { Refusals } from '../../../agent/reconcile/refusals.ts'

const refusal = new Error('Cannot add route 10.1.2.0/24: Network is unreachable (ENETUNREACH)')

it('leave a refused key alone for 0.1 s, then twice as long each time, at most 30 s', () => {
  const refusals = new Refusals()
  const waits = Array.from({ length: 12 }, () => {
    refusals.add('route', refusal, 1_000)
    return refusals.waitMs('route', 1_000)
  })
  expect(waits).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000, 30_000])
})

it('wait no longer than they are told', () => {
  const refusals = new Refusals()
  for (let i = 0; i < 20; i++) refusals.add('link', refusal, 0, 1_000)
  expect(refusals.waitMs('link', 0)).toBe(1_000)
})

it('know no key that was deleted', () => {
  const refusals = new Refusals()
  refusals.add('route', refusal, 0)
  refusals.delete('route')
  expect([refusals.waitMs('route', 0), refusals.byKey.size]).toEqual([0, 0])
})

it('begin again with a short wait once something has changed that the key depends on', () => {
  const refusals = new Refusals()
  for (let i = 0; i < 9; i++) refusals.add('route', refusal, 0)
  refusals.retry('route')
  expect([refusals.waitMs('route', 50), refusals.byKey.size]).toEqual([0, 1])
  refusals.add('route', refusal, 50)
  expect(refusals.waitMs('route', 50)).toBe(100)
})
