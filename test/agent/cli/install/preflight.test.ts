import { expect, it } from 'vitest'
import { printObstacle } from '../../../../agent/cli/install/preflight.ts'

it('an obstacle of the installation is one line, whatever foreign text it has', () => {
  const hostile = '\u001b[2J\u009b31m\u202egnp\u200b\nroot: all is well\u2028'
  const finding = { check: 'x', severity: 'risk', what: hostile, cause: hostile, remedy: 'remedy' } as const
  const line = printObstacle({ ...finding, evidence: hostile.repeat(1_000) })
  expect(line).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u)
  expect(line).toMatch(/^warning: \\u001b\[2J/)
  expect(line.length).toBeLessThan(25_000)
  expect(printObstacle({ ...finding, severity: 'broken', what: 'a', evidence: 'b' })).toBe('a (b): remedy')
})
