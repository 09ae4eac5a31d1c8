import type { Ip } from '../../lease/net/ip.ts'
import type { StoreOptions } from '../../lease/options.ts'
import type { FirewallOptions } from '../firewall/firewall.ts'
import type { LogLevel } from '../status/logger.ts'
import type { Supervision } from '../status/supervisor.ts'
import type { InterfaceWish, NamePattern, PublicIps } from '../underlay/underlay.ts'
import { effectiveSettings } from './effective.ts'
import { allFlags, type Env, readSettings, type Settings, unknownVariables } from './flags.ts'
import { type FlagValues, printFlags } from './go_flags.ts'
import { storeOptions, storeWarnings } from './store_options.ts'
import { address, ConfigError, durationMs, inRange, nonEmpty, requiredAddress } from './values.ts'
import { settingsWithoutEffect } from './without_effect.ts'

/** What one agent runs with: flanneld's flags and variables, and ours, parsed and checked. */
export interface AgentConfig {
  readonly store: StoreOptions
  readonly interfaces: InterfaceWish
  readonly publicIps: PublicIps
  readonly subnetFile: string
  /** Where the agent writes the CNI network itself; undefined: nowhere. */
  readonly cniConfigFile: string | undefined
  readonly firewall: Omit<FirewallOptions, 'nftables' | 'nftGeneration'>
  /** Undefined: no health, readiness and metrics. */
  readonly healthz: { readonly ip: Ip; readonly port: number } | undefined
  /** Undefined: peers' probes are not answered. */
  readonly probePort: number | undefined
  /** Unix socket of the local API; undefined: none. */
  readonly localSocket: string | undefined
  /** Undefined: none. The store's endpoint is then its loopback one, unless another was given. */
  /** Drop what is sent to pods of this node that are not there, instead of sending it to the default gateway. */
  readonly blackholeRoute: boolean
  readonly logLevel: LogLevel
  /** Once our lease is another's: keep forwarding and wait for an operator, or exit. */
  readonly leaseLost: 'wait' | 'exit'
  /** How long an external interface or address that is gone may come back before another one is taken. */
  readonly underlayPatienceMs: number
  /** Between two full passes. */
  readonly resyncMs: number
  readonly supervision: Supervision
  /** What to log before anything else: settings that were passed over or do nothing. */
  readonly warnings: readonly string[]
  /** The same at info: settings without effect that need none. */
  readonly notes: readonly string[]
  /** Each setting with where it came from, for the log; passwords are masked. */
  readonly settings: Readonly<Record<string, string>>
}

export type CommandLine =
  | { readonly asks: 'run'; readonly config: AgentConfig }
  | { readonly asks: 'version' }
  | { readonly asks: 'help'; readonly text: string }

/** Reads the agent's command line (without the program's name) and variables. Throws FlagError (exit 2), ConfigError (1). */
export async function parseCommandLine(words: readonly string[], env: Env): Promise<CommandLine> {
  const settings = readSettings(allFlags, words, env)
  if (settings.help) return { asks: 'help', text: `Usage: twilld [flags]\n\n${printFlags(allFlags)}` }
  if (settings.values.version) return { asks: 'version' }
  return { asks: 'run', config: await agentConfig(settings, env) }
}

async function agentConfig(settings: Settings<typeof allFlags>, env: Env): Promise<AgentConfig> {
  const { values } = settings
  const embedded = values['embedded-etcd']
  const store = storeOptions(
    embedded && !settings.sources.has('etcd-endpoints')
      ? { ...values, 'etcd-endpoints': 'http://127.0.0.1:2379' }
      : values,
    env,
    {
      renewMarginMs:
        inRange('subnet-lease-renew-margin', values['subnet-lease-renew-margin'], 1, 1439) * 60_000,
      cacheFile: cacheFile(values['cache-file']),
      setNodeNetworkUnavailable: values['set-node-network-unavailable'],
    },
  )
  if (embedded && store.kind !== 'etcd')
    throw new ConfigError('--embedded-etcd and --kube-subnet-mgr exclude each other: leave one of them out')
  const isOwn = embedded && store.kind === 'etcd'
  const effect = settingsWithoutEffect(settings, env)
  const port = inRange('healthz-port', values['healthz-port'], 0, 65_535)
  return {
    store: isOwn ? { ...store, embedded: { dataDir: values['embedded-etcd-dir'] } } : store,
    interfaces: await interfaceWish(values),
    publicIps: {
      ipv4: address('public-ip', values['public-ip'], 'ipv4'),
      ipv6: address('public-ipv6', values['public-ipv6'], 'ipv6'),
    },
    subnetFile: values['subnet-file'],
    cniConfigFile: nonEmpty(values['cni-conf-file']),
    firewall: firewallOptions(values),
    healthz: port === 0 ? undefined : { ip: requiredAddress('healthz-ip', values['healthz-ip']), port },
    probePort: inRange('probe-port', values['probe-port'], 0, 65_535) || undefined,
    localSocket: nonEmpty(values['local-socket']),
    blackholeRoute: values['ip-blackhole-route'],
    logLevel: logLevel(values.v),
    leaseLost: leaseLost(values['lease-lost']),
    underlayPatienceMs: durationMs('underlay-patience', values['underlay-patience']),
    resyncMs: inRange('resync', values.resync, 1, 86_400) * 1000,
    supervision: supervision(env),
    warnings: [
      ...settings.warnings,
      ...unknownVariables(env),
      ...effect.warnings,
      ...storeWarnings(store),
      ...passwordWarnings(settings),
      ...cniWarnings(values),
    ],
    notes: effect.notes,
    settings: effectiveSettings(settings, env),
  }
}

/** See sd_watchdog_enabled(3): the variables may have been inherited from a service that started this one. */
function supervision({ NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID }: Env): Supervision {
  const isForUs = WATCHDOG_PID === undefined || WATCHDOG_PID === `${process.pid}`
  const watchdogMs = Number(WATCHDOG_USEC) / 1000
  return {
    socket: nonEmpty(NOTIFY_SOCKET ?? ''),
    watchdogMs: isForUs && watchdogMs > 0 ? watchdogMs : undefined,
  }
}

function cniWarnings(values: FlagValues<typeof allFlags>): readonly string[] {
  if (values['cni-conf-file'] === '' || values['ip-masq']) return []
  return [
    '--cni-conf-file without --ip-masq: nothing masquerades what pods send beyond the overlay, so give --ip-masq too ' +
      'unless their addresses are routed there',
  ]
}

function passwordWarnings({ sources }: Settings<typeof allFlags>): readonly string[] {
  if (sources.get('etcd-password') !== 'flag') return []
  return [
    '--etcd-password can be read by every process of this host (ps): write the password into a file, readable by root alone, ' +
      'and give --etcd-password-file',
  ]
}

async function interfaceWish(values: FlagValues<typeof allFlags>): Promise<InterfaceWish> {
  return {
    iface: values.iface,
    ifaceRegex: await patterns('iface-regex', values['iface-regex']),
    ifaceCanReach:
      values['iface-can-reach'] === ''
        ? undefined
        : requiredAddress('iface-can-reach', values['iface-can-reach']),
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

function cacheFile(text: string): string | undefined {
  return text === 'none' ? undefined : text
}

function leaseLost(text: string): 'wait' | 'exit' {
  if (text === 'wait' || text === 'exit') return text
  throw new ConfigError(`--lease-lost is '${text}': it must be wait or exit`)
}
