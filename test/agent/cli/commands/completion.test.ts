import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { commands } from '../../../../agent/cli/commands.ts'
import { twill } from '../../../support/twill.ts'

const directory = mkdtempSync(join(tmpdir(), 'twill-completion-'))
afterAll(() => rmSync(directory, { recursive: true }))

const isThere = (program: string) => spawnSync(program, ['--version']).error === undefined

/** What each shell does at the end of a line, with the script loaded. */
const askers: Record<string, (script: string, words: readonly string[]) => string> = {
  bash: (script, words) =>
    `source ${script}; COMP_WORDS=(${words.map(word => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _twill; printf '%s\\n' "\${COMPREPLY[@]}"`,
  fish: (script, words) => `source ${script}; complete -C '${words.join(' ')}' | string split -f 1 \\t`,
}

describe.each(Object.keys(askers).filter(isThere))('completion in %s', shell => {
  const complete = async (...words: string[]) => {
    const script = join(directory, shell)
    writeFileSync(script, (await twill(`completion ${shell}`)).out)
    const line = askers[shell]?.(script, words) ?? ''
    const { stdout, stderr } = spawnSync(shell, ['-c', line], { encoding: 'utf8' })
    expect(stderr).toBe('')
    return stdout.trim().split('\n')
  }

  it('knows every command, its flags, and their values', async () => {
    expect(await complete('twill', '')).toEqual(expect.arrayContaining(commands.map(({ name }) => name)))
    expect(await complete('twill', 'map', '--form')).toEqual(['--format'])
    expect((await complete('twill', 'map', '--format', '')).toSorted()).toEqual([
      'dot',
      'html',
      'json',
      'svg',
      'table',
    ])
    expect(await complete('twill', 'map', '--etcd-endp')).toEqual(['--etcd-endpoints'])
    expect(await complete('twill', 'completion', 'z')).toEqual(['zsh'])
  })

  it.runIf(shell === 'bash')('offers the values of a switch behind = alone', async () => {
    expect(await complete('twill', 'map', '--json', '=', '')).toEqual(['true', 'false'])
    expect(await complete('twill', 'map', '--json', '=', 'f')).toEqual(['false'])
    expect(await complete('twill', 'map', '--json', '--wat')).toEqual(['--watch'])
    expect(await complete('twill', 'map', '--format', '=', 'sv')).toEqual(['svg'])
    expect(await complete('twill', 'map', '--etcd-prefix', '=', '')).toEqual([''])
  })
})

describe('the completion scripts', () => {
  it.each(['bash', 'zsh', 'fish'].filter(isThere))('are read by %s without a complaint', async shell => {
    const script = join(directory, `${shell}.n`)
    writeFileSync(script, (await twill(`completion ${shell}`)).out)
    expect(spawnSync(shell, ['-n', script], { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' })
  })

  it('are there for three shells only', async () => {
    expect(await twill('completion tcsh')).toMatchObject({
      code: 2,
      err: "twill: SHELL is 'tcsh': it must be bash, zsh, fish\n",
    })
  })
})

describe('the manual page', () => {
  it('tells of every command, flag, variable and exit code, from their definitions', async () => {
    const { out } = await twill('man')
    const asTyped = (text: string) => text.replaceAll('-', '\\-')
    for (const { name, examples } of commands) {
      expect(out).toContain(`.SS "twill ${asTyped(name)}`)
      for (const [line] of examples) expect(out).toContain(asTyped(line))
    }
    for (const text of ['\\-\\-format string', 'FLANNELD_ETCD_ENDPOINTS', 'diff: could not tell'])
      expect(out).toContain(text)
  })

  it.skipIf(!isThere('mandoc'))('is without a fault for mandoc', async () => {
    const { out } = await twill('man')
    const { stdout } = spawnSync('mandoc', ['-T', 'lint', '-W', 'warning'], { input: out, encoding: 'utf8' })
    expect(stdout.split('\n').filter(line => line !== '' && !line.includes('missing date'))).toEqual([])
  })
})

describe('the help of a list flag', () => {
  it('names no default: the list is empty', async () => {
    const { out } = await twill('cleanup --help')
    expect(out).toContain('--vni <list>')
    expect(out).not.toContain('(default )')
  })
})

describe('twill', () => {
  it('says a slip of the command line in one line, with where to read on', async () => {
    const slips = {
      'map --jsn': "twill: unknown option '--jsn' (Did you mean --json?); see: twill map --help\n",
      'map --etcd-pasword=s3cret': "twill: unknown option '--etcd-pasword=***'; see: twill map --help\n",
      stauts: "twill: unknown command 'stauts' (Did you mean status?); see: twill --help\n",
      'trace 10.244.1.7': "twill: missing required argument 'DST'; see: twill trace --help\n",
      'map --sort=size': 'twill: invalid value "size" for flag -sort: it must be subnet, node, ip, state\n',
    }
    for (const [line, err] of Object.entries(slips))
      expect(await twill(line)).toEqual({ code: 2, out: '', err })
  })

  it('teaches by example', async () => {
    expect((await twill('--help')).out).toContain(
      '  # pods do not reach each other: begin here\n  twill doctor\n',
    )
    expect((await twill('map --help')).out).toContain('twill map --format html > map.html')
  })
})
