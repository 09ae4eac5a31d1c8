import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { whyNoBed } from '../support/bed.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

/** What contract.sh says of an agent, by assertion. */
function assertions(...command: readonly string[]): ReadonlyMap<string, boolean> {
  const { stdout, stderr, status } = spawnSync('sh', ['test/e2e/contract.sh', ...command], {
    encoding: 'utf8',
  })
  if (status === 2 || status === null) throw new Error(`contract.sh could not run: ${stderr}`)
  const lines = stdout.matchAll(/^(not ok|ok) \d+ - (.*)$/gm)
  return new Map(Array.from(lines, ([, verdict, what = '']) => [what, verdict === 'ok']))
}

const failing = (all: ReadonlyMap<string, boolean>) =>
  Array.from(all).flatMap(([what, ok]) => (ok ? [] : what))

describe.skipIf(why !== undefined)('the contract, asserted from outside', { timeout: 240_000 }, () => {
  const agent = [process.execPath, 'dist/twilld.js']

  it('holds for twilld', () => {
    const all = assertions(...agent)
    expect(failing(all)).toEqual([])
    expect(all.size).toBeGreaterThanOrEqual(35)
  })

  it('is found broken where an agent does not keep it', () => {
    expect(failing(assertions(...agent, '-iptables-forward-rules=false'))).toEqual(['the rules that accept'])
  })
})
