import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LogBudget } from '../../../../agent/status/log/log_budget.ts'

describe('the budget for log lines', () => {
  let nowMs: number
  let budget: LogBudget
  let written: string[]
  beforeEach(() => {
    vi.useFakeTimers()
    nowMs = 0
    budget = new LogBudget(() => nowMs)
    written = []
  })
  afterEach(() => vi.useRealTimers())

  const log = (message: string, level = 'warn') => {
    if (budget.admits(level, message, (omitted, kinds) => written.push(`${omitted} more: ${kinds}`)))
      written.push(message)
  }
  const pass = (ms: number) => {
    nowMs += ms
    vi.advanceTimersByTime(ms)
  }

  it('lets twenty lines of a kind through, and then says how many more there were', () => {
    for (let i = 0; i < 5_000; i++) log(`lease of node-${i} at 10.0.0.${i} refused: reason ${i}`)
    expect(written).toHaveLength(21)
    pass(10_000)
    expect(written[21]).toBe("4979 more: 4979 'lease of at refused'")
  })

  it('is one for each kind and level', () => {
    for (let i = 0; i < 30; i++) for (const level of ['info', 'warn']) log(`peer ${i} left`, level)
    for (let i = 0; i < 30; i++) log(`peer ${i} joined`)
    expect(written).toHaveLength(61)
  })

  it('is less than forty lines a minute for what does not end', () => {
    for (let second = 0; second < 60; second++) {
      for (let i = 0; i < 100; i++) log('peer changed')
      pass(1_000)
    }
    expect(written.length).toBeLessThan(40)
  })

  it('is one budget for what comes after the first lines of each kind', () => {
    const kinds = ['peer joined', 'peer left', 'peer changed', 'lease refused', 'lease gone', 'peer moved']
    for (let second = 0; second < 60; second++) {
      for (let i = 0; i < 100; i++) for (const kind of kinds) log(kind)
      pass(1_000)
    }
    const summaries = written.filter(line => line.includes(' more: '))
    expect(summaries[0]).toMatch(/^\d+ more: \d+ 'peer left'(, \d+ '[a-z ]+'){4} and others$/)
    expect(summaries.length).toBeLessThanOrEqual(6)
    expect(written.length).toBeLessThanOrEqual(20 * kinds.length + 10 + 6)
  })

  it('fills up again in two minutes', () => {
    for (let i = 0; i < 20; i++) log('peer changed')
    pass(120_000)
    written.length = 0
    for (let i = 0; i < 20; i++) log('peer changed')
    expect(written).toHaveLength(20)
  })

  it('does not grow with kinds that foreign text makes up', () => {
    const letters = (i: number) => [...`${i}`].map(digit => 'abcdefghij'[Number(digit)]).join('')
    for (let i = 0; i < 10_000; i++) log(`${letters(i)} left`)
    expect(written.length).toBeLessThanOrEqual(200 + 20 + 1)
  })
})
