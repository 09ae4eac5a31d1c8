import { bool } from '../../config/go_flags.ts'
import { exitCode } from '../../exit_code.ts'
import { runCommand } from '../../firewall/command.ts'
import { hasSystemd, InstallError, readHostState } from '../../install/host_state.ts'
import { takeBack } from '../../install/perform.ts'
import { closingActs, foreign, type HostState, installPlan, paths } from '../../install/plan.ts'
import { printStep, type Undo, undoOf } from '../../install/step.ts'
import { type Record, readRecord } from '../../install/unit_text.ts'
import { requireNetAdmin } from '../../kernel/capability.ts'
import { command } from '../definition/command.ts'
import { cleanupCommand, ownCommand, unitEnvironment } from '../install/install_wish.ts'
import { type ServiceSettings, serviceSettings, undoNotes } from '../install/undo_notes.ts'
import { memberHere } from './etcd_leave.ts'

const MEMBERS_MS = 5_000

const flags = { 'dry-run': bool(false, 'print what would be undone, and why') }

/** `twill uninstall`: takes back what `twill install` did on this host, and only that. */
export const uninstall = command({ flags, readsStore: false }, async (values, { out }) => {
  const { signal } = new AbortController()
  if (!hasSystemd())
    throw new InstallError('There is no systemd here, so twill install did nothing: see twill cleanup')
  requireNetAdmin()
  const host = await readHostState([], runCommand, signal)
  const record = recordOf(host)
  if (record === undefined) {
    out.write('There is nothing to undo: twill install did nothing here\n')
    return exitCode.stopped
  }
  const { values: env } = await unitEnvironment(host)
  const settings = serviceSettings(record.flags, env)
  const cleanup = cleanupCommand(record.flags, env)
  const acts = await undoing(host, record, cleanup, settings)
  if (values['dry-run']) {
    out.write(acts.map(printStep).join(''))
    return exitCode.stopped
  }
  const how = { run: runCommand, say: (line: string) => out.write(`${line}\n`), start: async () => {} }
  const failed = await takeBack(acts, how, signal)
  const changed = { forwarding: host.files.has(paths.sysctl), docker: record.docker }
  for (const line of undoNotes(settings, changed)) out.write(`${line}\n`)
  if (failed.length > 0) throw new InstallError(`Not undone: ${failed.join('; ')}`)
  return exitCode.stopped
})

/** The record of the installation; where it was interrupted before it wrote one, its other files prove it. */
function recordOf(host: HostState): Record | undefined {
  const isOurs = (path: string) => host.files.has(path) && foreign(host, path) === undefined
  const written = readRecord(host.files.get(paths.dropIn))
  if (written !== undefined) return { ...written, docker: isOurs(paths.docker) }
  if (!Object.values(paths).some(isOurs)) return undefined
  return { flags: [], docker: isOurs(paths.docker), enabled: isOurs(paths.unit), started: isOurs(paths.unit) }
}

async function undoing(
  host: HostState,
  record: Record,
  cleanup: readonly string[],
  settings: ServiceSettings,
): Promise<readonly Undo[]> {
  const wish = {
    flags: record.flags,
    docker: record.docker,
    program: [],
    unitText: '',
    dockerText: '',
    token: host.files.get(paths.token),
    families: [],
    cleanup,
    leave: await leaveWhereOthersAre(settings),
  }
  const acts = undoOf(installPlan(wish, host, record))
  const possible = acts.filter(({ act }) => act.kind !== 'remove' || host.files.has(act.path))
  return [...possible, ...closingActs(record)]
}

/** How to leave etcd; undefined if this host runs no member, the only one, or one that does not answer. */
async function leaveWhereOthersAre(settings: ServiceSettings) {
  if (!settings['embedded-etcd'] && !settings.member) return undefined
  const dataDir = settings['embedded-etcd-dir']
  const { others } = await memberHere(dataDir, AbortSignal.timeout(MEMBERS_MS)).catch(() => ({ others: [] }))
  const command = ownCommand('etcd-leave', `--embedded-etcd-dir=${dataDir}`)
  return others.length === 0 ? undefined : { command, dataDir }
}
