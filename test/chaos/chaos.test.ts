import { expect, it } from 'vitest'
import { whyNoBed } from '../support/bed.ts'
import { attempt } from '../support/exec.ts'

/** Another one at each run finds more; this one draws most kinds of fault within its minute. */
const seed = process.env.TWILL_SEED ?? '1'

it.skipIf(whyNoBed() !== undefined)(
  'a minute of chaos breaks no promise: npm run chaos',
  async () => {
    const command = ['node', 'dist/chaos.js', '--minutes', '1', '--seed', seed]
    const { code, stdout, stderr } = await attempt(command, { withinMs: 480_000 })
    expect(code, `${stdout}\n${stderr}`).toBe(0)
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^All promises kept/)
  },
  500_000,
)
