import { existsSync } from 'node:fs'
import { ExpectedError } from '../../lease/common/errors.ts'
import { readWhole } from '../../lease/common/replace_file.ts'
import { allFamilies, type Family } from '../../lease/net/ip.ts'
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
  const files = new Map<string, string>()
  for (const path of Object.values(paths)) {
    const text = await readWhole(path, signal)
    if (text !== undefined) files.set(path, text)
  }
  const unit = packaged.find(path => existsSync(path))
  const service = await showUnit('twilld', ['UnitFileState', 'ActiveState', 'NeedDaemonReload'], run, signal)
  const unforwarded: Family[] = []
  for (const family of allFamilies) {
    const text = await readWhole(`/proc/sys/${forwardingSetting[family].replaceAll('.', '/')}`, signal)
    if (text?.trim() === '0') unforwarded.push(family)
  }
  const folders = [...flags, ...(readRecord(files.get(paths.dropIn))?.flags ?? [])]
  return {
    files,
    packagedUnit: unit === undefined ? undefined : await readWhole(unit, signal),
    service: {
      isEnabled: service.UnitFileState === 'enabled',
      isActive: ['active', 'activating', 'reloading'].includes(service.ActiveState ?? ''),
      needsReload: service.NeedDaemonReload === 'yes',
    },
    unforwarded,
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
  const output = await run(['systemctl', 'show', unit, `--property=${properties.join(',')}`], '', signal)
  if (output === 'missing') throw new InstallError('systemd does not answer: there is no systemctl')
  if (output.code !== 0) throw new InstallError(`systemd does not answer: ${output.stderr.trim()}`)
  const pairs = output.stdout.matchAll(/^(\w+)=(.*)$/gm)
  return Object.fromEntries(Array.from(pairs, ([, name = '', value = '']) => [name, value]))
}
