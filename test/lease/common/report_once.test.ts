import { beforeEach, describe, expect, it } from 'vitest'
import { ReportOnce } from '../../../lease/common/report_once.ts'

describe('reporting once', () => {
  let once: ReportOnce
  let lines: string[]
  beforeEach(() => {
    once = new ReportOnce()
    lines = []
  })

  const settle = (now: Record<string, string>) =>
    once.settle(
      new Map(Object.entries(now)),
      (key, words) => lines.push(`${key}: ${words}`),
      key => lines.push(`${key} is over`),
    )

  it('says each trouble when it comes, when its words change, and when it is over', () => {
    settle({ a: 'refused', b: 'broken' })
    settle({ a: 'refused', b: 'broken' })
    settle({ a: 'refused otherwise' })
    settle({})
    settle({})
    settle({ a: 'refused' })
    expect(lines).toEqual([
      'a: refused',
      'b: broken',
      'a: refused otherwise',
      'b is over',
      'a is over',
      'a: refused',
    ])
  })

  it('is asked for one trouble alone', () => {
    expect([once.isNew('a', 'x'), once.isNew('a', 'x'), once.isNew('a', 'y')]).toEqual([true, false, true])
    expect([once.isOver('a'), once.isOver('a'), once.isNew('a', 'y')]).toEqual([true, false, true])
  })
})
