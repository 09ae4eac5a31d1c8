import { messageOf } from '../../lease/common/errors.ts'
import { DEFAULT_PREFIX } from '../../lease/options.ts'
import {
  bool,
  type Flag,
  type FlagTable,
  type FlagValues,
  int,
  list,
  type ParsedFlags,
  parseGoFlags,
  readFlag,
  string,
} from './go_flags.ts'
import { readBacktraceAt, readVmodule } from './klog.ts'
import { maskLogin, maskPassword, maskToken, shownWords } from './shown.ts'

/** Flags for the choice of store and its connection, also of the CLI. Names and defaults are flanneld's. */
export const storeFlags = {
  'etcd-endpoints': {
    ...string('http://127.0.0.1:4001,http://127.0.0.1:2379', 'etcd endpoints, a comma list'),
    shown: maskLogin,
  },
  'etcd-prefix': string(DEFAULT_PREFIX, 'key prefix in etcd'),
  'etcd-keyfile': string('', "PEM file with the private key of etcd's client certificate"),
  'etcd-certfile': string('', "PEM file with etcd's client certificate"),
  'etcd-cafile': string('', "PEM file with the authorities that may sign etcd's certificate"),
  'etcd-username': string('', 'user name at etcd'),
  'etcd-password': {
    ...string('', 'password at etcd; every process of this host can read it here'),
    shown: maskPassword,
  },
  'etcd-password-file': string('', 'file whose first line is the password at etcd'),
  join: {
    ...string(
      '',
      'join token of a network whose etcd --embedded-etcd runs, or the absolute path of a file with it; instead of all --etcd- flags',
    ),
    shown: maskToken,
  },
  'etcd-proxy': {
    ...string('', 'HTTP proxy to etcd; empty: none, whatever https_proxy and the like say'),
    shown: maskLogin,
  },
  'kube-subnet-mgr': bool(false, 'take leases from the Kubernetes API instead of etcd'),
  'kube-api-url': {
    ...string('', 'Kubernetes API server; with no kubeconfig file either: in-cluster'),
    shown: maskLogin,
  },
  'kubeconfig-file': string('', 'kubeconfig file for the Kubernetes API'),
  'kube-annotation-prefix': string('flannel.alpha.coreos.com', 'prefix of the annotations on Nodes'),
  'net-config-path': string('/etc/kube-flannel/net-conf.json', 'network config file, with --kube-subnet-mgr'),
} as const satisfies FlagTable

/** Flags of flanneld that only an agent has, with flanneld's defaults. */
const agentFlags = {
  iface: list('external interface, by IP or name; the first that is there is used'),
  'iface-regex': list('external interface, by a pattern on its IP or its name; after all --iface'),
  'iface-can-reach': string('', 'external interface: the one that a packet to this IP leaves by'),
  'public-ip': string('', 'IPv4 address that peers reach this node by'),
  'public-ipv6': string('', 'IPv6 address that peers reach this node by'),
  'subnet-file': string('/run/flannel/subnet.env', "where this node's subnet, MTU and network are written"),
  'subnet-lease-renew-margin': int(60, 'minutes before its end at which a lease is renewed, 1 to 1439'),
  'ip-masq': bool(false, 'masquerade traffic that leaves the overlay'),
  'ip-masq-fully-random-disable': bool(false, 'masquerade without fully random ports'),
  'iptables-resync': int(5, 'seconds between two checks of the firewall rules'),
  'iptables-forward-rules': bool(true, 'accept forwarded traffic of the overlay'),
  'ip-blackhole-route': bool(
    false,
    "drop packets for pods that are not there: a blackhole route for this node's own subnet",
  ),
  'set-node-network-unavailable': bool(true, 'set NetworkUnavailable=False on the Node once ready'),
  'healthz-ip': string('0.0.0.0', 'address that /healthz, /readyz and /metrics listen on'),
  'healthz-port': int(0, 'port that they listen on; 0: off'),
  v: int(
    0,
    'log level: 0 info, 1 each operation on the kernel, 2 and above each command and each request to the store too',
  ),
  vmodule: string('', "klog's levels by Go source file: without effect here", readVmodule),
  log_backtrace_at: string(
    '',
    "klog's stack traces by line of Go source: without effect here",
    readBacktraceAt,
  ),
  version: bool(false, 'print the version and exit'),
} as const satisfies FlagTable

export const DEFAULT_PROBE_PORT = 8473

const ownFlags = {
  'embedded-etcd': bool(false, 'run etcd on this node, as the store of a small network'),
  'embedded-etcd-dir': string('/var/lib/twill/etcd', 'data directory of --embedded-etcd and --member'),
  'embedded-etcd-plain': bool(
    false,
    '--embedded-etcd without TLS and join token: every host and pod that reaches its port can redirect pod traffic',
  ),
  member: bool(
    false,
    'with --join: run a member of etcd on this node too; with three members, any one of their hosts may be lost',
  ),
  'cache-file': string('/var/lib/twill/leases.json', 'where the last known leases are kept; none: nowhere'),
  'cni-conf-file': string(
    '',
    'where to write the CNI network for the standard plugins, as /etc/cni/net.d/10-flannel.conflist; not given: nowhere',
  ),
  'iptables-forward-first': bool(
    false,
    'put our accepts first in FORWARD where a rule before them drops or rejects everything',
  ),
  'probe-port': int(
    DEFAULT_PROBE_PORT,
    'TCP and UDP port on which probes of peers are answered inside the overlay; 0: off',
  ),
  'healthz-details': bool(
    false,
    'answer /, /map and /status to other hosts and pods too, not only to this host',
  ),
  'local-socket': string('/run/twill/twilld.sock', 'unix socket where twill asks this agent; none: off'),
  'underlay-patience': string(
    '10s',
    'how long an external interface or address that is gone may come back before another one takes its place',
  ),
  'tunnel-filter': bool(
    false,
    'drop VXLAN packets that no peer sent, by nft: those of strangers and of pods',
  ),
  'tx-checksum': string(
    'auto',
    'checksums of tunnelled packets by hardware: auto (off where that is known to hang TCP: Linux before 5.7, vmxnet3), on or off',
  ),
  'log-format': string('auto', 'auto (text on a terminal, JSON elsewhere), json or text'),
  resync: int(60, 'seconds between two full passes over the kernel'),
  'lease-lost': string(
    'wait',
    "once our lease is another's: 'wait' and keep forwarding, or 'exit' with code 3",
  ),
} as const satisfies FlagTable

export const allFlags = { ...storeFlags, ...agentFlags, ...ownFlags } as const satisfies FlagTable

type AgentPath = 'local-socket' | 'subnet-file' | 'cache-file' | 'cni-conf-file' | 'embedded-etcd-dir'

/** A flag of a twill command for a path of the agent, with the agent's default. */
export function agentPath(name: AgentPath, more = ''): Flag<string> {
  return string(allFlags[name].default, `the agent's --${name}${more}`)
}

/** Environment variables by name; `process.env` fits. */
export type Env = Readonly<Record<string, string | undefined>>

export interface Settings<T extends FlagTable> extends ParsedFlags<T> {
  /** Sources of values other than defaults, by name: `flag`, `variable FLANNELD_...`. */
  readonly sources: ReadonlyMap<string, string>
  /** Variables that could not be read; they are ignored, as by flanneld. */
  readonly warnings: readonly string[]
}

/** `etcd-endpoints` is also FLANNELD_ETCD_ENDPOINTS. */
export function variableName(flag: string): string {
  return `FLANNELD_${flag.toUpperCase().replaceAll(/[-.]/g, '_')}`
}

/** Warnings about FLANNELD_ variables without a flag, such as misspelt ones; one sentence each. */
export function unknownVariables(env: Env): readonly string[] {
  const known = new Set(Object.keys(allFlags).map(variableName))
  return Object.keys(env)
    .filter(name => name.startsWith('FLANNELD_') && !known.has(name))
    .map(name => `Variable ${name} is ignored: there is no such flag`)
}

/** Flags, else non-empty FLANNELD_ variables (one value for a list), else defaults. Throws FlagError. */
export function readSettings<T extends FlagTable>(table: T, words: readonly string[], env: Env): Settings<T> {
  const parsed = parseGoFlags(table, words)
  const values: Record<string, unknown> = { ...parsed.values }
  const sources = new Map(Array.from(parsed.given, name => [name, 'flag']))
  const warnings: string[] = []
  for (const [name, flag] of Object.entries(table)) {
    const variable = variableName(name)
    const text = env[variable]
    if (text === undefined || text === '' || sources.has(name)) continue
    try {
      values[name] = readFlag(name, flag, text)
      sources.set(name, `variable ${variable}`)
    } catch (error) {
      warnings.push(`Variable ${variable} is ignored: ${messageOf(error)}`)
    }
  }
  if (parsed.rest.length > 0 && !parsed.help) {
    const shown = shownWords(table, words).slice(-parsed.rest.length).join(' ')
    warnings.push(`Arguments '${shown}' are ignored: flags end at the first word that is not one`)
  }
  return { ...parsed, values: values as FlagValues<T>, sources, warnings }
}
