import { posix } from 'node:path'
import { ExpectedError, messageOf } from '../../lease/common/errors.ts'
import { AddressError, type Family, familyOf, type Ip, parseIp } from '../../lease/net/ip.ts'
import type { EtcdOptions, KubernetesOptions, StoreOptions } from '../../lease/options.ts'
import type { FirewallOptions } from '../firewall/firewall.ts'
import type { LogLevel } from '../status/logger.ts'
import type { InterfaceWish, PublicIps } from '../underlay/underlay.ts'
import { allFlags, type Env, readSettings, type Settings, storeFlags, unknownVariables } from './flags.ts'
import { type FlagValues, printFlags } from './go_flags.ts'
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
  /** Undefined: none. The store's endpoint is then its loopback one, unless another was given. */
  readonly embeddedEtcd: { readonly dataDir: string } | undefined
  readonly logLevel: LogLevel
  /** Once our lease is another's: keep forwarding and wait for an operator, or exit. */
  readonly leaseLost: 'wait' | 'exit'
  /** Between two full passes. */
  readonly resyncMs: number
  /** NOTIFY_SOCKET: where systemd wants to be told that the service is up. */
  readonly notifySocket: string | undefined
  /** What to log before anything else: settings that were passed over or do nothing. */
  readonly warnings: readonly string[]
}

/** A setting whose value breaks a rule. The message names the flag, the value and the rule. Exit code 1. */
export class ConfigError extends ExpectedError {
  override name = 'ConfigError'
}

export type CommandLine =
  | { readonly asks: 'run'; readonly config: AgentConfig }
  | { readonly asks: 'version' }
  | { readonly asks: 'help'; readonly text: string }

/** Reads the agent's command line (without the program's name) and variables. Throws FlagError (exit 2), ConfigError (1). */
export function parseCommandLine(words: readonly string[], env: Env): CommandLine {
  const settings = readSettings(allFlags, words, env)
  if (settings.help) return { asks: 'help', text: `Usage: twilld [flags]\n\n${printFlags(allFlags)}` }
  if (settings.values.version) return { asks: 'version' }
  return { asks: 'run', config: agentConfig(settings, env) }
}

/** The store alone, for commands that read it: nothing is taken from a cache. Throws FlagError, ConfigError. */
export function parseStoreOptions(
  words: readonly string[],
  env: Env,
): { store: StoreOptions; warnings: readonly string[] } {
  const settings = readSettings(storeFlags, words, env)
  // The Kubernetes store asks which Node it writes to; who only reads needs none.
  const anyNode = { ...env, NODE_NAME: nonEmpty(env.NODE_NAME) ?? 'none' }
  const rest = { renewMarginMs: 0, cacheFile: undefined, setNodeNetworkUnavailable: false }
  return { store: storeOptions(settings.values, anyNode, rest), warnings: settings.warnings }
}

function agentConfig(settings: Settings<typeof allFlags>, env: Env): AgentConfig {
  const { values } = settings
  const embedded = values['embedded-etcd']
  const store = storeOptions(
    embedded && !settings.set.has('etcd-endpoints')
      ? { ...values, 'etcd-endpoints': 'http://127.0.0.1:2379' }
      : values,
    env,
    {
      renewMarginMs: inRange(values, 'subnet-lease-renew-margin', 1, 1439) * 60_000,
      cacheFile: nonEmpty(values['cache-file']),
      setNodeNetworkUnavailable: values['set-node-network-unavailable'],
    },
  )
  if (embedded && store.kind !== 'etcd')
    throw new ConfigError('--embedded-etcd and --kube-subnet-mgr exclude each other: leave one of them out')
  const port = inRange(values, 'healthz-port', 0, 65_535)
  return {
    store,
    interfaces: interfaceWish(values),
    publicIps: { ipv4: address(values, 'public-ip', 'ipv4'), ipv6: address(values, 'public-ipv6', 'ipv6') },
    subnetFile: values['subnet-file'],
    cniConfigFile: nonEmpty(values['cni-conf-file']),
    firewall: firewallOptions(values),
    healthz: port === 0 ? undefined : { ip: requiredAddress(values, 'healthz-ip'), port },
    embeddedEtcd: embedded ? { dataDir: values['embedded-etcd-dir'] } : undefined,
    logLevel: values.v > 0 ? 'debug' : 'info',
    leaseLost: leaseLost(values['lease-lost']),
    resyncMs: inRange(values, 'resync', 1, 86_400) * 1000,
    notifySocket: nonEmpty(env.NOTIFY_SOCKET),
    warnings: [
      ...settings.warnings,
      ...unknownVariables(env),
      ...settingsWithoutEffect(settings, env),
      ...storeWarnings(store),
      ...cniWarnings(values),
    ],
  }
}

/** What a store needs and only the agent sets. */
interface AgentsShare {
  readonly renewMarginMs: number
  readonly cacheFile: string | undefined
  readonly setNodeNetworkUnavailable: boolean
}

function storeOptions(values: FlagValues<typeof storeFlags>, env: Env, share: AgentsShare): StoreOptions {
  return values['kube-subnet-mgr'] ? kubernetesOptions(values, env, share) : etcdOptions(values, share)
}

function etcdOptions(values: FlagValues<typeof storeFlags>, share: AgentsShare): EtcdOptions {
  const [certFile, keyFile] = [nonEmpty(values['etcd-certfile']), nonEmpty(values['etcd-keyfile'])]
  const caFile = nonEmpty(values['etcd-cafile'])
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new ConfigError(
      'Only one of --etcd-certfile and --etcd-keyfile is given: a client certificate needs both',
    )
  const scheme = certFile === undefined && caFile === undefined ? 'http' : 'https'
  const endpoints = values['etcd-endpoints']
    .split(',')
    .map(text => text.trim())
    .filter(text => text !== '')
  if (endpoints.length === 0)
    throw new ConfigError('--etcd-endpoints is empty: at least one is needed, as in http://127.0.0.1:2379')
  return {
    kind: 'etcd',
    endpoints: endpoints.map(text => endpoint(text, scheme)),
    prefix: etcdPrefix(values['etcd-prefix']),
    caFile,
    certFile,
    keyFile,
    username: nonEmpty(values['etcd-username']),
    password: nonEmpty(values['etcd-password']),
    renewMarginMs: share.renewMarginMs,
    cacheFile: share.cacheFile,
  }
}

function kubernetesOptions(
  values: FlagValues<typeof storeFlags>,
  env: Env,
  share: AgentsShare,
): KubernetesOptions {
  return {
    kind: 'kubernetes',
    nodeName: nonEmpty(env.NODE_NAME),
    podName: nonEmpty(env.POD_NAME),
    podNamespace: nonEmpty(env.POD_NAMESPACE),
    apiUrl: nonEmpty(values['kube-api-url']),
    kubeconfigFile: nonEmpty(values['kubeconfig-file']),
    annotationPrefix: values['kube-annotation-prefix'],
    networkConfigFile: values['net-config-path'],
    setNodeNetworkUnavailable: share.setNodeNetworkUnavailable,
    cacheFile: share.cacheFile,
  }
}

/** `host:port` as well as a URL; the port is etcd's 2379 unless given. */
function endpoint(text: string, scheme: 'http' | 'https'): string {
  const [, given, host, port] =
    /^(?:(https?):\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s:/?#@[\]]+)(?::(\d{1,5}))?\/?$/.exec(text) ?? []
  if (host === undefined || Number(port ?? 1) > 65_535)
    throw new ConfigError(`--etcd-endpoints has '${text}': it must look like http://host:2379`)
  return `${given ?? scheme}://${host}:${port ?? 2379}`
}

/** As flanneld joins keys (Go's path.Join): `//a/b/` is `/a/b`. */
function etcdPrefix(text: string): string {
  if (text === '') throw new ConfigError('--etcd-prefix is empty: flannel uses /coreos.com/network')
  return posix.normalize(text).replace(/\/$/, '')
}

function cniWarnings(values: FlagValues<typeof allFlags>): readonly string[] {
  if (values['cni-conf-file'] === '' || values['ip-masq']) return []
  return [
    '--cni-conf-file without --ip-masq: nothing masquerades what pods send beyond the overlay, so give --ip-masq too ' +
      'unless their addresses are routed there',
  ]
}

function storeWarnings(store: StoreOptions): readonly string[] {
  if (store.kind !== 'etcd' || (store.caFile ?? store.certFile) === undefined) return []
  return store.endpoints
    .filter(text => text.startsWith('http:'))
    .map(text => `Certificates are given but ${text} is spoken to in the clear: write https:// there`)
}

function interfaceWish(values: FlagValues<typeof allFlags>): InterfaceWish {
  return {
    iface: values.iface,
    ifaceRegex: values['iface-regex'].map(pattern),
    ifaceCanReach: values['iface-can-reach'] === '' ? undefined : requiredAddress(values, 'iface-can-reach'),
  }
}

function firewallOptions(values: FlagValues<typeof allFlags>): AgentConfig['firewall'] {
  return {
    ipMasq: values['ip-masq'],
    randomPorts: !values['ip-masq-fully-random-disable'],
    forwardRules: values['iptables-forward-rules'],
    forwardFirst: values['iptables-forward-first'],
    resyncMs: inRange(values, 'iptables-resync', 1, 86_400) * 1000,
  }
}

/** Go's patterns and JavaScript's agree in what names and addresses need; a leading `(?i)` is Go's alone. */
function pattern(text: string): RegExp {
  const ignoreCase = text.startsWith('(?i)')
  try {
    return new RegExp(ignoreCase ? text.slice(4) : text, ignoreCase ? 'i' : '')
  } catch (cause) {
    const reason = messageOf(cause)
    throw new ConfigError(`--iface-regex '${text}' is no regular expression: ${reason}`, { cause })
  }
}

function leaseLost(text: string): 'wait' | 'exit' {
  if (text === 'wait' || text === 'exit') return text
  throw new ConfigError(`--lease-lost is '${text}': it must be wait or exit`)
}

type Values = FlagValues<typeof allFlags>
type NamesOf<V> = { [N in keyof Values]: Values[N] extends V ? N : never }[keyof Values]

function inRange(values: Values, name: NamesOf<number>, least: number, most: number): number {
  const value = values[name]
  if (value < least || value > most)
    throw new ConfigError(`--${name} is ${value}: it must be ${least} to ${most}`)
  return value
}

function address(values: Values, name: NamesOf<string>, family: Family): Ip | undefined {
  if (values[name] === '') return undefined
  const ip = requiredAddress(values, name)
  if (familyOf(ip) !== family) throw new ConfigError(`--${name} is '${ip}': it must be an ${family} address`)
  return ip
}

function requiredAddress(values: Values, name: NamesOf<string>): Ip {
  try {
    return parseIp(values[name])
  } catch (cause) {
    if (!(cause instanceof AddressError)) throw cause
    throw new ConfigError(`--${name}: ${cause.message}`, { cause })
  }
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}
