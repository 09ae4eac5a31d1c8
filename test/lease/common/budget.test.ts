import { describe, expect, it } from 'vitest'
import { Budget } from '../../../lease/common/budget.ts'

describe('a budget', () => {
  it('is bounded at once and in the long run, and a refusal costs nothing', () => {
    const budget = new Budget({ most: 20, perSecond: 1 })
    const spendable = (nowMs: number) =>
      Array.from({ length: 30 }, () => budget.spend(1, nowMs)).filter(Boolean).length
    expect(spendable(0)).toBe(20)
    expect(budget.spend(21, 0)).toBe(false)
    expect(spendable(3_000)).toBe(3)
    expect(spendable(3_600_000)).toBe(20)
  })

  it('allows five at once, then one a second', () => {
    const budget = new Budget({ most: 5, perSecond: 1 })
    const startedMs: number[] = []
    for (let nowMs = 0; nowMs <= 3_000; nowMs += 50) while (budget.spend(1, nowMs)) startedMs.push(nowMs)
    expect(startedMs).toEqual([0, 0, 0, 0, 0, 1_000, 2_000, 3_000])
  })

  it('says how long to wait', () => {
    const budget = new Budget({ most: 5, perSecond: 2 })
    for (let i = 0; i < 5; i++) budget.spend(1, 0)
    expect([budget.waitMs(0), budget.waitMs(250), budget.waitMs(500)]).toEqual([500, 250, 0])
  })

  it('saves up no more than it allows at once, however long it is quiet', () => {
    const budget = new Budget({ most: 5, perSecond: 1 })
    for (let i = 0; i < 5; i++) budget.spend(1, 3_600_000)
    expect(budget.waitMs(3_600_000)).toBe(1_000)
  })
})
