import { readdirSync, realpathSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { orUndefined } from '../../../lease/common/errors.ts'
import { readRegularFileSync } from '../../../lease/common/read_file.ts'
import { ipOrUndefined, urlHost } from '../../../lease/net/ip.ts'
import type { NetworkConfig } from '../../../lease/network_config/network_config.ts'
import { allFlags, type Env, storeFlags, variableName } from '../../config/flags.ts'
import { FlagError, splitWord } from '../../config/go_flags.ts'
import { readSecret } from '../../config/secret_file.ts'
import { InstallError } from '../../install/host_state.ts'
import { type HostState, paths } from '../../install/plan.ts'
import { readUnitEnvironment, type UnitEnvironment } from '../../install/unit_environment.ts'

export interface AskedFor {
  /** The flags of the service, with the path of the token's file. */
  readonly flags: readonly string[]
  /** The same with the token as it was given, to check them before the token's file is written. */
  readonly judged: readonly string[]
  readonly token: string | undefined
}

/** Larger than any drop-in or file of variables. */
const MOST_BYTES = 2 ** 20

/** Folders that the unit hides from the agent: ProtectHome=, PrivateTmp=. */
const hidden = /^\/(root|home|run\/user|tmp|var\/tmp)\//

/** `words`: of `twill install`, `--name=value`. Throws FlagError, ConfigError. */
export function askedFor(words: readonly string[]): AskedFor {
  const nameOf = (word: string) => splitWord(word).name
  if (words.some(word => nameOf(word) === 'etcd-password'))
    throw new FlagError(
      'A service has no --etcd-password: write it into a file for root alone, and give --etcd-password-file',
    )
  const passedOn = words.filter(word => Object.hasOwn(allFlags, nameOf(word)) && nameOf(word) !== 'join')
  const given = [...passedOn, ...(words.includes('--first-host=true') ? ['--embedded-etcd'] : [])]
  const join = words.findLast(word => nameOf(word) === 'join')?.replace(/^--join=?/, '') ?? ''
  const address = endpointOf(join)
  if (join === '' || address !== undefined) {
    const flags = [...given, ...(address === undefined ? [] : [`--etcd-endpoints=${address}`])]
    return { flags, judged: flags, token: undefined }
  }
  const token = join.startsWith('/') ? readSecret('join', join) : join
  const judged = [...given, `--join=${join}`]
  return { flags: [...given, `--join=${paths.token}`], judged, token }
}

/** An address, a name or a URL, with or without a port; undefined for a token, and for a file with one. */
function endpointOf(text: string): string | undefined {
  if (text === '' || text.startsWith('/') || text.startsWith('twill1_')) return undefined
  const ip = ipOrUndefined(text)
  return ip === undefined ? text : urlHost(ip)
}

/** Texts, folders and commands that the plan needs. Throws InstallError. */
export async function installWish({ flags, token }: AskedFor, network: NetworkConfig, host: HostState) {
  const program = twilldCommand()
  const unseen = program.find(word => hidden.test(word))
  if (unseen !== undefined && host.packagedUnit === undefined)
    throw new InstallError(
      `A service cannot read ${unseen} (ProtectHome=, PrivateTmp=): install the package, or npm install --global it, and run that twill`,
    )
  return {
    flags,
    program,
    token,
    unitText: await ownText('twilld.service'),
    dockerText: await ownText('docker.conf'),
    families: network.families.map(({ family }) => family),
    cleanup: cleanupCommand(flags, (await unitEnvironment(host)).values),
  }
}

/** The command to remove the agent's entries, with the store that the service has by flags or variables. */
export function cleanupCommand(flags: readonly string[], env: Env): readonly string[] {
  const names = [...Object.keys(storeFlags), 'subnet-file', 'cache-file', 'cni-conf-file']
  const given = flags.filter(flag => names.some(name => flag.startsWith(`--${name}=`)))
  const others = names.flatMap(name => {
    const text = env[variableName(name)]
    return text && !given.some(flag => flag.startsWith(`--${name}=`)) ? [`--${name}=${text}`] : []
  })
  return ownCommand('cleanup', '--yes', ...given, ...others)
}

export function ownCommand(...words: readonly string[]): readonly string[] {
  return [process.execPath, join(ownFolder(), 'twill.js'), ...words]
}

/** Variables of the service, from its unit, drop-ins and files. */
export async function unitEnvironment({ packagedUnit, files }: HostState): Promise<UnitEnvironment> {
  // systemd prefers the unit in /etc.
  const unit = files.get(paths.unit) ?? packagedUnit ?? (await ownText('twilld.service'))
  const folder = dirname(paths.dropIn)
  // An operator may have written anything there.
  const read = (path: string) => orUndefined(() => readRegularFileSync(path, MOST_BYTES))
  const names = orUndefined(() => readdirSync(folder)) ?? []
  const dropIns = names.filter(name => name.endsWith('.conf')).sort()
  return readUnitEnvironment([unit, ...dropIns.flatMap(name => read(join(folder, name)) ?? [])], read)
}

/** Node.js and twilld by their paths: a service has neither the operator's PATH nor NODE_OPTIONS. */
export function twilldCommand(): readonly string[] {
  return ['/usr/bin/env', '-u', 'NODE_OPTIONS', process.execPath, join(ownFolder(), 'twilld.js')]
}

function ownFolder(): string {
  return dirname(realpathSync(process.argv[1] ?? '.'))
}

/** A file of manifests/systemd, a copy of which lies beside the bundle. */
function ownText(name: string): Promise<string> {
  return readFile(join(ownFolder(), 'systemd', name), 'utf8')
}
