import { existsSync } from 'node:fs'
import { ExpectedError } from '../../lease/common/errors.ts'
import { readWhole } from '../../lease/common/replace_file.ts'
import { allFamilies } from '../../lease/net/ip.ts'
import { forwardingSetting } from '../diagnose/settings.ts'
import type { RunCommand } from '../firewall/command.ts'
import { type HostState, paths } from './plan.ts'
import { readRecord, writableFolders } from './unit_text.ts'

/** An installation or its undo failed; the message says what to do. */
export class InstallError extends ExpectedError {
  override name = 'InstallError'
}

/** Unit files of Debian's packages, after and before Debian's /lib became a link. */
const packaged = ['/usr/lib/systemd/system/twilld.service', '/lib/systemd/system/twilld.service']

/** sd_booted(3). */
export function hasSystemd(): boolean {
  return existsSync('/run/systemd/system')
}

export async function readHostState(
  flags: readonly string[],
  run: RunCommand,
  signal: AbortSignal,
): Promise<HostState> {
  const texts = await Promise.all(
    Object.values(paths).map(async path => [path, await readWhole(path, signal)] as const),
  )
  const files = new Map(texts.flatMap(([path, text]) => (text === undefined ? [] : [[path, text] as const])))
  const unit = packaged.find(path => existsSync(path))
  const service = await showUnit('twilld', ['UnitFileState', 'ActiveState', 'NeedDaemonReload'], run, signal)
  const forwards = await Promise.all(
    allFamilies.map(async family => {
      const text = await readWhole(`/proc/sys/${forwardingSetting[family].replaceAll('.', '/')}`, signal)
      return text?.trim() === '0' ? [family] : []
    }),
  )
  const folders = [...flags, ...(readRecord(files.get(paths.dropIn))?.flags ?? [])]
  return {
    files,
    packagedUnit: unit === undefined ? undefined : await readWhole(unit, signal),
    service: {
      isEnabled: service.UnitFileState === 'enabled',
      isActive: ['active', 'activating', 'reloading'].includes(service.ActiveState ?? ''),
      needsReload: service.NeedDaemonReload === 'yes',
    },
    unforwarded: forwards.flat(),
    folders: new Set(writableFolders(folders).filter(existsSync)),
  }
}

/** Properties of a unit, as `systemctl show` prints them. Throws InstallError. */
export async function showUnit(
  unit: string,
  properties: readonly string[],
  run: RunCommand,
  signal: AbortSignal,
): Promise<Readonly<Record<string, string>>> {
  const command = ['systemctl', 'show', unit, `--property=${properties.join(',')}`]
  const output = await run(command, '', signal)
  if (output === 'missing' || output.code !== 0)
    throw new InstallError(
      `systemd does not answer: ${output === 'missing' ? 'there is no systemctl' : output.stderr.trim()}`,
    )
  const pairs = output.stdout.split('\n').map(line => /^(\w+)=(.*)$/.exec(line))
  return Object.fromEntries(pairs.flatMap(pair => (pair === null ? [] : [[pair[1] ?? '', pair[2] ?? '']])))
}
