import { describe, expect, it } from 'vitest'
import { PassBudget } from '../../../agent/reconcile/pass_budget.ts'

describe('a budget of full passes', () => {
  it('allows five at once, then one a second', () => {
    const budget = new PassBudget()
    const startedMs: number[] = []
    for (let nowMs = 0; nowMs <= 3_000; nowMs += 50) {
      while (budget.waitMs(nowMs) === 0) {
        budget.spend(nowMs)
        startedMs.push(nowMs)
      }
    }
    expect(startedMs).toEqual([0, 0, 0, 0, 0, 1_000, 2_000, 3_000])
  })

  it('says how long to wait', () => {
    const budget = new PassBudget()
    for (let i = 0; i < 5; i++) budget.spend(0)
    expect([budget.waitMs(0), budget.waitMs(400), budget.waitMs(1_000)]).toEqual([1_000, 600, 0])
  })

  it('saves up no more than five, however long it is quiet', () => {
    const budget = new PassBudget()
    for (let i = 0; i < 5; i++) budget.spend(3_600_000)
    expect(budget.waitMs(3_600_000)).toBe(1_000)
  })
})
