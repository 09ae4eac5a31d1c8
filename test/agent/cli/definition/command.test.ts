import { expect, it } from 'vitest'
import { commands } from '../../../../agent/cli/commands.ts'
import { allFlags } from '../../../../agent/config/flags.ts'
import type { FlagTable } from '../../../../agent/config/go_flags.ts'
import { twill } from '../../../support/twill.ts'

const agents: FlagTable = allFlags

it.each(commands)("twill $name has the agent's defaults for the agent's flags", async ({ load }) => {
  for (const [name, flag] of Object.entries((await load()).flags))
    if (agents[name]?.kind === flag.kind) expect([name, flag.default]).toEqual([name, agents[name]?.default])
})

it('the manual and twill docker-opts name the files that the agent writes by default', async () => {
  const { out } = await twill('man')
  for (const name of ['local-socket', 'cache-file', 'subnet-file'])
    expect(out).toContain(`.B ${agents[name]?.default}\n`)
  expect((await twill('docker-opts --help')).out).toContain(`default ${agents['subnet-file']?.default}`)
})
