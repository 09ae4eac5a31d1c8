import type { Ip } from '../../lease/net/ip.ts'
import type { StoreOptions } from '../../lease/options.ts'
import type { FirewallOptions } from '../firewall/firewall.ts'
import type { TxChecksum } from '../kernel/apply/tx_checksum.ts'
import type { LogLevel } from '../status/log/log_level.ts'
import type { LoggerOptions } from '../status/log/logger.ts'
import type { Supervision } from '../status/supervisor.ts'
import type { InterfaceWish, NamePattern, PublicIps } from '../underlay/underlay.ts'
import { allFlags, type Env, readSettings, type Settings, unknownVariables } from './flags.ts'
import { type FlagValues, printFlags } from './go_flags.ts'
import { shownValue } from './shown.ts'
import { type AgentsShare, storeOptions, storeWarnings } from './store_options.ts'
import { address, ConfigError, durationMs, inRange, nonEmpty, requiredAddress } from './values.ts'
import { settingsWithoutEffect } from './without_effect.ts'

/** One agent's settings: flanneld's flags and variables, and twilld's own, parsed and checked. */
export interface AgentConfig {
  readonly store: StoreOptions
  readonly interfaces: InterfaceWish
  readonly publicIps: PublicIps
  readonly subnetFile: string
  /** Where the agent writes the CNI network itself; undefined: nowhere. */
  readonly cniConfigFile: string | undefined
  readonly firewall: Omit<FirewallOptions, 'nftables' | 'nftGeneration'>
  readonly healthz: { readonly ip: Ip; readonly port: number } | undefined
  /** Whether other hosts and pods see the network on the same port. */
  readonly healthzDetails: boolean
  /** Undefined: peers' probes are not answered. */
  readonly probePort: number | undefined
  /** Unix socket of the local API; undefined: none. */
  readonly localSocket: string | undefined
  /** Drop packets to missing pods of this node, instead of sending them to the default gateway. */
  readonly blackholeRoute: boolean
  readonly log: LoggerOptions
  readonly txChecksum: TxChecksum
  readonly tunnelFilter: boolean
  /** When another node takes this node's lease: keep forwarding and wait for an operator, or exit. */
  readonly leaseLost: 'wait' | 'exit'
  /** How long to wait for a lost external interface or address before another one is chosen. */
  readonly underlayPatienceMs: number
  readonly resyncMs: number
  readonly supervision: Supervision
  /** Warnings to log first: settings that were ignored or have no effect. */
  readonly warnings: readonly string[]
  /** The same at info level: settings that need no effect. */
  readonly notes: readonly string[]
  /** Each setting with its source, for the log; passwords are masked. */
  readonly settings: Readonly<Record<string, string>>
}

export type CommandLine =
  | { readonly asks: 'run'; readonly config: AgentConfig }
  | { readonly asks: 'version' }
  | { readonly asks: 'help'; readonly text: string }

/** Reads the agent's arguments and variables. Throws FlagError (exit code 2), ConfigError (1). */
export async function parseCommandLine(words: readonly string[], env: Env): Promise<CommandLine> {
  const settings = readSettings(allFlags, words, env)
  if (settings.help) return { asks: 'help', text: `Usage: twilld [flags]\n\n${printFlags(allFlags)}` }
  if (settings.values.version) return { asks: 'version' }
  return { asks: 'run', config: await agentConfig(settings, env) }
}

async function agentConfig(settings: Settings<typeof allFlags>, env: Env): Promise<AgentConfig> {
  const { values } = settings
  const store = agentStore(settings, env)
  const effect = settingsWithoutEffect(settings, env)
  const port = inRange('healthz-port', values['healthz-port'], 0, 65_535)
  return {
    store,
    interfaces: await interfaceWish(values),
    publicIps: {
      ipv4: address('public-ip', values['public-ip'], 'ipv4'),
      ipv6: address('public-ipv6', values['public-ipv6'], 'ipv6'),
    },
    subnetFile: values['subnet-file'],
    cniConfigFile: nonEmpty(values['cni-conf-file']),
    firewall: firewallOptions(values),
    healthz: port === 0 ? undefined : { ip: requiredAddress('healthz-ip', values['healthz-ip']), port },
    healthzDetails: values['healthz-details'],
    probePort: inRange('probe-port', values['probe-port'], 0, 65_535) || undefined,
    localSocket: pathOrNone(values['local-socket']),
    blackholeRoute: values['ip-blackhole-route'],
    log: {
      level: logLevel(values.v),
      format: logFormat(values['log-format']),
      journalStream: env.JOURNAL_STREAM,
    },
    txChecksum: word('tx-checksum', values['tx-checksum'], ['auto', 'on', 'off']),
    tunnelFilter: values['tunnel-filter'],
    leaseLost: word('lease-lost', values['lease-lost'], ['wait', 'exit']),
    underlayPatienceMs: durationMs('underlay-patience', values['underlay-patience']),
    resyncMs: inRange('resync', values.resync, 1, 86_400) * 1000,
    supervision: supervision(env),
    warnings: [...effect.warnings, ...allWarnings(settings, store, env)],
    notes: effect.notes,
    settings: effectiveSettings(settings, env),
  }
}

function agentStore(settings: Settings<typeof allFlags>, env: Env): StoreOptions {
  const { values } = settings
  const renewMargin = inRange('subnet-lease-renew-margin', values['subnet-lease-renew-margin'], 1, 1439)
  const share = {
    renewMarginMs: renewMargin * 60_000,
    cacheFile: pathOrNone(values['cache-file']),
    setNodeNetworkUnavailable: values['set-node-network-unavailable'],
  }
  if (values['embedded-etcd']) return embeddedStore(settings, env, share)
  const store = storeOptions(values, env, share)
  if (!values.member) return store
  if (store.kind !== 'etcd' || store.joinSecret === undefined)
    throw new ConfigError('--member needs --join, with the token of the network whose etcd it is for')
  return { ...store, embedded: { dataDir: values['embedded-etcd-dir'], isPlain: false } }
}

/** An etcd that this host runs, on the endpoint's port. The agent makes its TLS certificates. */
function embeddedStore(settings: Settings<typeof allFlags>, env: Env, share: AgentsShare): StoreOptions {
  const { values, sources } = settings
  for (const name of ['kube-subnet-mgr', 'join', 'member'] as const)
    if (values[name])
      throw new ConfigError(`--embedded-etcd and --${name} exclude each other: leave one of them out`)
  const own = sources.has('etcd-endpoints') ? values : { ...values, 'etcd-endpoints': '127.0.0.1:2379' }
  const store = storeOptions(own, env, share)
  if (store.kind !== 'etcd') return store
  const isPlain = values['embedded-etcd-plain']
  const endpoints = store.endpoints.map(text => text.replace(/^https?/, isPlain ? 'http' : 'https'))
  return { ...store, endpoints, embedded: { dataDir: values['embedded-etcd-dir'], isPlain } }
}

function allWarnings(settings: Settings<typeof allFlags>, store: StoreOptions, env: Env): readonly string[] {
  return [
    ...settings.warnings,
    ...unknownVariables(env),
    ...storeWarnings(store),
    ...secretWarnings(settings),
    ...cniWarnings(settings.values),
  ]
}

/**
 * As sd_watchdog_enabled(3) reads them: whole microseconds below 2^64 - 1, for the process in WATCHDOG_PID
 * alone, since another service may have passed on its own variables.
 */
function supervision({ NOTIFY_SOCKET, WATCHDOG_USEC = '', WATCHDOG_PID }: Env): Supervision {
  const isForUs = WATCHDOG_PID === undefined || WATCHDOG_PID === `${process.pid}`
  const usec = /^\d{1,20}$/.test(WATCHDOG_USEC) ? BigInt(WATCHDOG_USEC) : 0n
  return {
    socket: nonEmpty(NOTIFY_SOCKET ?? ''),
    watchdogMs: isForUs && usec > 0n && usec < (1n << 64n) - 1n ? Number(usec) / 1000 : undefined,
  }
}

function cniWarnings(values: FlagValues<typeof allFlags>): readonly string[] {
  if (values['cni-conf-file'] === '' || values['ip-masq']) return []
  return [
    '--cni-conf-file without --ip-masq: nothing masquerades what pods send beyond the overlay, so give --ip-masq too ' +
      'unless their addresses are routed there',
  ]
}

function secretWarnings({ sources, values }: Settings<typeof allFlags>): readonly string[] {
  const warning = (flag: string, noun: string, instead: string) =>
    `${flag} can be read by every process of this host (ps): write the ${noun} into a file, readable by root alone, and give ${instead}`
  return [
    ...(sources.get('etcd-password') === 'flag'
      ? [warning('--etcd-password', 'password', '--etcd-password-file')]
      : []),
    ...(sources.get('join') === 'flag' && !values.join.startsWith('/')
      ? [warning('--join', 'token', "the file's path instead")]
      : []),
  ]
}

async function interfaceWish(values: FlagValues<typeof allFlags>): Promise<InterfaceWish> {
  const reach = values['iface-can-reach']
  return {
    iface: values.iface,
    ifaceRegex: await patterns('iface-regex', values['iface-regex']),
    ifaceCanReach: reach === '' ? undefined : requiredAddress('iface-can-reach', reach),
  }
}

function firewallOptions(values: FlagValues<typeof allFlags>): AgentConfig['firewall'] {
  return {
    ipMasq: values['ip-masq'],
    randomPorts: !values['ip-masq-fully-random-disable'],
    forwardRules: values['iptables-forward-rules'],
    forwardFirst: values['iptables-forward-first'],
    resyncMs: inRange('iptables-resync', values['iptables-resync'], 1, 86_400) * 1000,
  }
}

async function patterns(flag: string, sources: readonly string[]): Promise<readonly NamePattern[]> {
  if (sources.length === 0) return []
  const { compilePattern } = await import('./re2.ts')
  return sources.map(source => compilePattern(flag, source))
}

function logLevel(verbosity: number): LogLevel {
  if (verbosity >= 2) return 'trace'
  return verbosity === 1 ? 'debug' : 'info'
}

function logFormat(text: string): LoggerOptions['format'] {
  const format = word('log-format', text, ['auto', 'json', 'text'])
  return format === 'auto' ? undefined : format
}

function word<T extends string>(flag: string, text: string, choices: readonly T[]): T {
  const found = choices.find(one => one === text)
  if (found !== undefined) return found
  const named = choices.join(', ').replace(/, (\w+)$/, ' or $1')
  throw new ConfigError(`Cannot use --${flag} '${text}': ${named} is needed`)
}

function pathOrNone(text: string): string | undefined {
  return text === 'none' ? undefined : text
}

/** Variables that the agent reads and that have no flag. */
const variables = ['NODE_NAME', 'POD_NAME', 'POD_NAMESPACE', 'NOTIFY_SOCKET']

/** Each setting by name, as `value (source)`. Passwords and tokens are masked. */
function effectiveSettings(
  { values, sources }: Settings<typeof allFlags>,
  env: Env,
): Readonly<Record<string, string>> {
  const names = Object.keys(allFlags) as (keyof typeof allFlags)[]
  const flags = names.map(name => {
    const shown = shownValue(allFlags[name], `${values[name]}`)
    return [name, `${shown} (${sources.get(name) ?? 'default'})`.trimStart()]
  })
  const given = variables.flatMap(name => (env[name] ? [[name, `${env[name]} (variable)`]] : []))
  return Object.fromEntries([...flags, ...given])
}
