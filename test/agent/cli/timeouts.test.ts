import { expect, it } from 'vitest'
import { commands } from '../../../agent/cli/commands.ts'
import { twill } from '../../support/twill.ts'

const loaded = await Promise.all(commands.map(async ({ name, load }) => ({ name, ...(await load()) })))
const timed = loaded.flatMap(({ name, flags, operands = [] }) =>
  ['timeout', 'wait'].filter(flag => flag in flags).map(flag => ({ name, flag, operands })),
)

it.each(timed)('twill $name refuses a --$flag out of range as a wrong word', async one => {
  const { name, flag, operands } = one
  const words = [name, ...operands.filter(word => word.startsWith('<')).map(() => 'x')]
  for (const text of ['-1', '86401', '5000000', '0x7fffffffffffffff'])
    expect(await twill([...words, `--${flag}=${text}`].join(' '))).toEqual({
      code: 2,
      out: '',
      err: expect.stringMatching(
        new RegExp(`^twill: invalid value "${text}" for flag -${flag}: it must be [01] to 86400\n$`),
      ),
    })
})

it('covers every flag of twill in seconds', () => {
  const flags = loaded.flatMap(({ flags }) => Object.entries(flags))
  const inSeconds = flags.filter(([, { kind, help }]) => kind === 'int' && help.startsWith('seconds '))
  const names = new Set(inSeconds.map(([name]) => name))
  // The last two are twilld's own.
  expect([...names].toSorted()).toEqual(['iptables-resync', 'resync', 'timeout', 'wait'])
})
