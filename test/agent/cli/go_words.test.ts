import { describe, expect, it } from 'vitest'
import { commands } from '../../../agent/cli/commands.ts'
import { goWords } from '../../../agent/cli/go_words.ts'
import { allFlags } from '../../../agent/config/flags.ts'
import { twill } from '../../support/twill.ts'

const table = { ...allFlags, ...(await loadedFlags()) }

async function loadedFlags() {
  const loaded = await Promise.all(commands.map(({ load }) => load()))
  return Object.assign({}, ...loaded.map(({ flags }) => flags)) as typeof allFlags
}

describe('a switch of twill', () => {
  const switches = Object.entries(table).flatMap(([name, { kind }]) => (kind === 'bool' ? [name] : []))

  it.each(switches)('--%s keeps its value, on or off, and takes no other word', name => {
    for (const [word, value] of [
      [`--${name}`, true],
      [`-${name}=1`, true],
      [`--${name}=false`, false],
      [`-${name}=F`, false],
    ])
      expect(goWords([`${word}`, 'false'], table)).toEqual([`--${name}=${value}`, 'false'])
    expect(goWords([`--${name}=`], table)).toEqual([])
    expect(() => goWords([`--${name}=perhaps`], table)).toThrow('invalid boolean value "perhaps"')
  })

  it('is switched off by the command line where a variable switches it on', async () => {
    const line = 'map --local-socket=none --cache-file=/none --etcd-endpoints=http://127.0.0.1:9'
    const env = { FLANNELD_KUBE_SUBNET_MGR: 'true' }
    expect((await twill(`${line} --kube-subnet-mgr=false`, env)).err).toContain('ECONNREFUSED')
  })

  it('shows in the help that its value stands behind =, and its default where that is on', async () => {
    const { out } = await twill('install --help')
    for (const name of ['ip-masq', 'iptables-forward-rules', 'dry-run', 'kube-subnet-mgr'])
      expect(out).toMatch(new RegExp(`^  --${name}\\[=bool\\]`, 'm'))
    expect(out.replaceAll(/\s+/g, ' ')).toContain('accept forwarded traffic of the overlay (default true)')
    expect((await twill('man')).out).toContain('.B \\-\\-ip\\-masq[=bool]')
  })
})

describe('a flag of twill that takes a value', () => {
  it('takes the next word, also one that looks like a flag', () => {
    expect(goWords(['-etcd-prefix', '-json', '-json'], table)).toEqual([
      '--etcd-prefix',
      '-json',
      '--json=true',
    ])
  })

  it('leaves operands alone, and all words after --', () => {
    expect(goWords(['trace', '--json', 'a', '--', '-json'], table)).toEqual([
      'trace',
      '--json=true',
      'a',
      '--',
      '-json',
    ])
    expect(goWords(['-o=json'], table)).toEqual(['-ojson'])
  })
})
