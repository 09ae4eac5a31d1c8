import { describe, expect, it } from 'vitest'
import { Attempts } from '../../../agent/reconcile/attempts.ts'

const refusal = new Error('Cannot add route 10.1.2.0/24: Network is unreachable (ENETUNREACH)')

describe('attempts', () => {
  it('leave a refused key alone for 0.1 s, then twice as long each time, at most 30 s', () => {
    const attempts = new Attempts()
    const waits = Array.from({ length: 12 }, () => {
      attempts.failed('route', refusal, 1_000)
      return attempts.waitMs('route', 1_000)
    })
    expect(waits).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000, 30_000])
  })

  it('wait no longer than they are told', () => {
    const attempts = new Attempts()
    for (let i = 0; i < 20; i++) attempts.failed('link', refusal, 0, 5_000)
    expect(attempts.waitMs('link', 0)).toBe(5_000)
  })

  it('repair five times at once what somebody undoes, and then with back-off: it is contested', () => {
    const attempts = new Attempts()
    const waits = Array.from({ length: 8 }, () => {
      attempts.repaired('route', 0)
      return attempts.waitMs('route', 0)
    })
    expect(waits).toEqual([0, 0, 0, 0, 0, 100, 200, 400])
    expect([...attempts.contested.keys()]).toEqual(['route'])
    expect(attempts.contested.get('route')?.count).toBe(8)
  })

  it('count no repairs that are far apart, whether or not somebody has pruned', () => {
    const attempts = new Attempts()
    for (let minute = 0; minute < 60; minute++) attempts.repaired('route', minute * 60_000)
    expect(attempts.contested.size).toBe(0)
  })

  it('know no key that was forgotten', () => {
    const attempts = new Attempts()
    attempts.failed('route', refusal, 0)
    attempts.forget('route')
    expect([attempts.waitMs('route', 0), attempts.failing.size]).toEqual([0, 0])
  })

  it('forgive what stood for 10 s, but nothing that is refused', () => {
    const attempts = new Attempts()
    for (let i = 0; i < 6; i++) attempts.repaired('undone', 0)
    attempts.failed('refused', refusal, 0)
    attempts.prune(10_100)
    expect([...attempts.contested.keys()]).toEqual(['undone'])
    attempts.prune(10_101)
    expect(attempts.contested.size).toBe(0)
    expect([...attempts.failing.keys()]).toEqual(['refused'])
  })

  it('let what is refused be tried at once, but not what is contested', () => {
    const attempts = new Attempts()
    for (let i = 0; i < 9; i++) attempts.failed('refused', refusal, 0)
    for (let i = 0; i < 9; i++) attempts.repaired('undone', 0)
    attempts.retryFailing(50)
    expect([attempts.waitMs('refused', 50), attempts.waitMs('undone', 50)]).toEqual([0, 750])
    expect(attempts.failed('refused', refusal, 50).notBeforeMs).toBe(150)
  })
})
