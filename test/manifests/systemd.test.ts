import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseCommandLine } from '../../agent/config/config.ts'

const analyze = (...words: readonly string[]) => {
  const { status, stdout, stderr } = spawnSync('systemd-analyze', words, { encoding: 'utf8' })
  return { status, output: `${stdout ?? ''}${stderr ?? ''}` }
}
/** Offline checks came with systemd 250. */
const version = Number(/systemd (\d+)/.exec(analyze('--version').output)?.[1] ?? 0)
if (version < 250) console.warn('systemd-analyze 250 or later is not here: the units are not analysed')

/** Keys that came with systemd 254: an older one names and ignores them. */
const isOfLater = (line: string) => version < 254 && /RestartSteps|RestartMaxDelaySec/.test(line)

const units = ['twilld.service', 'twilld@.service']
const textOf = (unit: string) => readFileSync(`manifests/systemd/${unit}`, 'utf8')

/** What the unit sets, as the agent reads it; `%i` is `blue`. */
function environment(unit: string): Record<string, string> {
  const words = [...textOf(unit).matchAll(/^Environment=(.*)$/gm)].flatMap(([, text = '']) => text.split(' '))
  return Object.fromEntries(words.map(word => word.replaceAll('%i', 'blue').split('=', 2)))
}

describe.each(units)('%s', unit => {
  it.skipIf(version < 250)('exposes no more than 3.5 of 10 to an attacker', () => {
    const { status, output } = analyze(
      'security',
      '--offline=yes',
      '--threshold=35',
      `manifests/systemd/${unit}`,
    )
    expect(status, output).toBe(0)
  })

  it.skipIf(version < 250)('is a unit that systemd finds nothing wrong with', () => {
    const folder = mkdtempSync(join(tmpdir(), 'twill-unit-'))
    const file = join(folder, unit.replace('@', '@blue'))
    writeFileSync(file, textOf(unit).replace(/^ExecStart=.*$/m, 'ExecStart=/bin/true'))
    try {
      expect(
        analyze('verify', '--man=no', file)
          .output.split('\n')
          .filter(line => line.includes(folder) && !isOfLater(line)),
      ).toEqual([])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('sets nothing that the agent warns of', async () => {
    const command = await parseCommandLine([], environment(unit))
    expect(command.asks === 'run' && command.config.warnings).toEqual([])
  })
})

/** What keeps an agent running, and its host's containers while it restarts. */
const lasting = ['StartLimitIntervalSec=0', 'Restart=always', 'RestartSteps=6', 'RestartMaxDelaySec=60']
it.each([
  ...units.map(unit => [unit, lasting] as const),
  ['docker.conf', ['Wants=twilld.service', 'After=twilld.service']] as const,
])('%s gives up nothing when the agent ends', (file, lines) => {
  expect(textOf(file).split('\n')).toEqual(expect.arrayContaining([...lines]))
  expect(textOf(file)).not.toMatch(/^(Requires|BindsTo|PartOf)=/m)
})

it('docker.conf gives itself no name: twill install writes it under another than an operator', () => {
  expect(textOf('docker.conf')).not.toContain('.conf')
})

describe('two daemons on one host', () => {
  it('share no file and no socket', async () => {
    const [one, other] = await Promise.all(units.map(unit => parseCommandLine([], environment(unit))))
    if (one?.asks !== 'run' || other?.asks !== 'run')
      throw new Error('neither help nor version was asked for')
    for (const key of ['subnetFile', 'localSocket', 'healthz'] as const)
      expect(other.config[key], key).not.toEqual(one.config[key])
    expect(other.config.store).toMatchObject({
      prefix: '/blue/network',
      cacheFile: '/var/lib/twill/blue.json',
    })
  })
})
