import type { Family } from '../../lease/net/ip.ts'
import { forwardingSetting } from '../diagnose/settings.ts'
import type { Act, Step, Undo } from './step.ts'
import { dropIn, MARK, type Record, writableFolders } from './unit_text.ts'

/**
 * The steps that make a host a node: `--dry-run` prints them, `twill install` performs them, and `twill
 * uninstall` undoes them. Pure. A file without the mark belongs to another program: no step overwrites or
 * removes it.
 */

export const paths = {
  unit: '/etc/systemd/system/twilld.service',
  dropIn: '/etc/systemd/system/twilld.service.d/50-install.conf',
  docker: '/etc/systemd/system/docker.service.d/50-twill.conf',
  sysctl: '/etc/sysctl.d/90-twill.conf',
  token: '/etc/twill/join-token',
} as const

export interface HostState {
  /** Texts of the files in `paths` that exist, by path. */
  readonly files: ReadonlyMap<string, string>
  readonly packagedUnit: string | undefined
  readonly service: { readonly isEnabled: boolean; readonly isActive: boolean; readonly needsReload: boolean }
  readonly unforwarded: readonly Family[]
  /** Folders of files that the flags name, if they exist. */
  readonly folders: ReadonlySet<string>
}

export interface InstallWish extends Pick<Record, 'flags' | 'docker'> {
  /** The command that starts twilld, used where there is no other unit. */
  readonly program: readonly string[]
  /** Texts of manifests/systemd. */
  readonly unitText: string
  readonly dockerText: string
  /** A join token that twilld is to read from a file; undefined: none is given. */
  readonly token: string | undefined
  /** The command that removes the agent's entries from the kernel once the agent has ended. */
  readonly cleanup: readonly string[]
  /** Removes this host's member of etcd, and its data; undefined where no other host runs a member. */
  readonly leave?: { readonly command: readonly string[]; readonly dataDir: string } | undefined
  readonly families: readonly Family[]
}

export function installPlan(wish: InstallWish, host: HostState, before: Record | undefined): readonly Step[] {
  const { flags, docker } = wish
  // Keeps the changes that an earlier installation recorded: an undo reverts them too.
  const enabled = before?.enabled ?? !host.service.isEnabled
  const record = { flags, docker, enabled, started: before?.started ?? !host.service.isActive }
  const files = [...unitSteps(wish, host, record), ...dockerSteps(wish, host)]
  const isChanged = files.some(({ isDone }) => !isDone)
  const service = serviceSteps(wish, host, record, isChanged)
  return [...forwardingSteps(wish, host), ...files, ...service]
}

function unitSteps(wish: InstallWish, host: HostState, record: Record): readonly Step[] {
  const { flags, token } = wish
  const other = host.packagedUnit ?? foreign(host, paths.unit)
  const program = other === undefined ? wish.program : execStart(other)
  const unit = `${MARK}\n${wish.unitText.replace(/^#.*\n/gm, '')}`
  const folders = writableFolders(flags).filter(folder => !host.folders.has(folder))
  return [
    ...(other === undefined ? [write(host, paths.unit, unit, 0o644, 'the unit of the agent')] : []),
    ...(token === undefined
      ? withdrawn(host, paths.token)
      : [write(host, paths.token, `${token}\n`, 0o600, 'how to reach the network, for root alone')]),
    ...folders.map(folder => step(run('mkdir', '-p', folder), 'the folder of a file that the agent writes')),
    write(host, paths.dropIn, dropIn(program, record), 0o644, 'the flags of this host'),
  ]
}

function dockerSteps({ docker, dockerText }: InstallWish, host: HostState): readonly Step[] {
  if (!docker) return withdrawn(host, paths.docker)
  const why = 'containers of Docker get addresses of the overlay'
  return [write(host, paths.docker, `${MARK}\n${dockerText}`, 0o644, why)]
}

/** An undo keeps the running value: another program may rely on it by then. */
function forwardingSteps({ families }: InstallWish, host: HostState): readonly Step[] {
  const isOurs = host.files.get(paths.sysctl)?.startsWith(MARK) === true
  const off = families.filter(family => host.unforwarded.includes(family))
  if (off.length === 0 && !isOurs) return []
  const text = [MARK, ...families.map(family => `${forwardingSetting[family]} = 1`), ''].join('\n')
  const why = 'packets pass between pods and the overlay'
  return [
    write(host, paths.sysctl, text, 0o644, `${why}, after a reboot too`),
    step(run('/usr/lib/systemd/systemd-sysctl', paths.sysctl), why, off.length === 0),
  ]
}

function serviceSteps(
  { cleanup, leave }: InstallWish,
  { service }: HostState,
  { enabled, started }: Record,
  isChanged: boolean,
): readonly Step[] {
  const isCurrent = !isChanged && !service.needsReload
  const enable = run('systemctl', 'enable', '--quiet', 'twilld')
  const disable = run('systemctl', 'disable', '--quiet', 'twilld')
  const disabling = enabled ? [{ act: disable, why: 'the agent no longer starts at boot' }] : []
  const start: Act = {
    kind: 'start',
    command: ['systemctl', service.isActive ? 'restart' : 'start', 'twilld'],
  }
  const isStarted = isCurrent && service.isActive
  return [
    step(run('systemctl', 'daemon-reload'), 'systemd reads its files again', isCurrent),
    step(enable, 'the agent starts at boot', service.isEnabled, disabling),
    step(start, 'ready once pods can reach their peers', isStarted, started ? stopping(cleanup, leave) : []),
  ]
}

function stopping(cleanup: readonly string[], leave: InstallWish['leave']): readonly Undo[] {
  const stop: readonly Undo[] = [
    { act: run('systemctl', 'stop', 'twilld'), why: 'the agent ends' },
    { act: run(...cleanup), why: "removes its devices, routes and rules: pods' traffic on this host ends" },
  ]
  if (leave === undefined) return stop
  const { command, dataDir } = leave
  return [
    // etcd would count this member for its quorum: with half of the members gone, it accepts no writes.
    { act: run(...command), why: 'the other members of etcd no longer count on this one', role: 'guard' },
    ...stop,
    // No etcd can start from these data once the member has left.
    {
      act: run('rm', '-r', dataDir),
      why: 'the data of a member that has left; the others have it',
      role: 'guarded',
    },
  ]
}

function run(...command: readonly string[]): Act {
  return { kind: 'run', command }
}

function step(act: Act, why: string, isDone = false, undo: readonly Undo[] = []): Step {
  return { act, why, isDone, undo }
}

/** The last acts of an undo: systemd reads the rest of the unit without the removed files. */
export function closingActs({ enabled, started }: Record): readonly Undo[] {
  const reload = { act: run('systemctl', 'daemon-reload'), why: 'systemd reads its files again' }
  const restart = {
    act: run('systemctl', 'restart', '--no-block', 'twilld'),
    why: 'the agent ran before the installation: it continues with its flags of then',
  }
  return enabled || started ? [reload] : [reload, restart]
}

function write(host: HostState, path: string, text: string, mode: number, why: string): Step {
  const remove: Undo = { act: { kind: 'remove', path }, why: 'written by twill install' }
  const undo = foreign(host, path) === undefined ? [remove] : []
  return step({ kind: 'write', path, text, mode }, why, host.files.get(path) === text, undo)
}

/** Removes a file of an earlier installation that the flags no longer ask for. */
function withdrawn(host: HostState, path: string): readonly Step[] {
  if (!host.files.has(path) || foreign(host, path) !== undefined) return []
  return [step({ kind: 'remove', path }, 'the flags no longer ask for it')]
}

/** A file without the mark: another program or an operator wrote it. The token's file needs none. */
export function foreign({ files }: HostState, path: string): string | undefined {
  const text = files.get(path)
  return text === undefined || path === paths.token || text.startsWith(MARK) ? undefined : text
}

/** The program of an existing unit, without its flags. */
function execStart(unit: string): readonly string[] {
  const line = /^ExecStart=[-@:+!]*(\S+)/m.exec(unit)?.[1]
  return [line ?? '/usr/bin/twilld']
}
