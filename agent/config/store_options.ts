import { posix } from 'node:path'
import { parseUrl } from '../../lease/common/url_logins.ts'
import { type JoinToken, JoinTokenError, parseJoinToken } from '../../lease/join_token.ts'
import { hostOf } from '../../lease/net/ip.ts'
import type { EtcdOptions, KubernetesOptions, StoreOptions } from '../../lease/options.ts'
import { type Env, readSettings, storeFlags } from './flags.ts'
import type { FlagValues } from './go_flags.ts'
import { readSecret } from './secret_file.ts'
import { shownValue } from './shown.ts'
import { ConfigError, nonEmpty } from './values.ts'

type StoreValues = FlagValues<typeof storeFlags>

export interface AgentsShare {
  readonly renewMarginMs: number
  readonly cacheFile: string | undefined
  readonly setNodeNetworkUnavailable: boolean
}

/** The store alone, for commands that read it, without a cache. Throws FlagError, ConfigError. */
export function parseStoreOptions(
  words: readonly string[],
  env: Env,
): { store: StoreOptions; warnings: readonly string[] } {
  const settings = readSettings(storeFlags, words, env)
  // The Kubernetes store needs the name of the Node that it writes to; a reader needs none.
  const anyNode = { ...env, NODE_NAME: nonEmpty(env.NODE_NAME) ?? 'none' }
  return { store: storeOptions(settings.values, anyNode, readersShare), warnings: settings.warnings }
}

/** The etcd that a join token names, or the file with it. Throws ConfigError. */
export function etcdOfToken(join: string): EtcdOptions {
  return joinedOptions(readSettings(storeFlags, [`--join=${join}`], {}).values, readersShare)
}

/** Of a command that reads the store once. */
const readersShare: AgentsShare = {
  renewMarginMs: 0,
  cacheFile: undefined,
  setNodeNetworkUnavailable: false,
}

export function storeOptions(values: StoreValues, env: Env, share: AgentsShare): StoreOptions {
  if (values.join !== '') return joinedOptions(values, share)
  return values['kube-subnet-mgr'] ? kubernetesOptions(values, env, share) : etcdOptions(values, share)
}

/** The token replaces all flags of etcd. Throws ConfigError if one of them is given too. */
function joinedOptions(values: StoreValues, share: AgentsShare): EtcdOptions {
  const others = Object.keys(storeFlags).filter((name): name is keyof typeof storeFlags =>
    /^etcd-(?!proxy)|^kube-subnet-mgr/.test(name),
  )
  const given = others.filter(name => values[name] && values[name] !== storeFlags[name].default)
  if (given.length > 0)
    throw new ConfigError(`Both --join and --${given[0]} are given: leave one of them out`)
  const { endpoints, prefix, secret } = joinToken(values.join)
  return {
    ...etcdOptions({ ...values, 'etcd-endpoints': endpoints.join(','), 'etcd-prefix': prefix }, share),
    joinSecret: secret,
  }
}

/** Only an absolute path counts as a file and is named in a message: a mistyped token is a secret. */
function joinToken(text: string): JoinToken {
  const isFile = text.startsWith('/')
  try {
    return parseJoinToken(isFile ? readSecret('join', text) : text)
  } catch (cause) {
    if (!(cause instanceof JoinTokenError)) throw cause
    throw new ConfigError(`--join${isFile ? `: ${text}` : ''}: ${cause.message}`, { cause })
  }
}

/** Warnings at start about the store's connection; one sentence each. */
export function storeWarnings(store: StoreOptions): readonly string[] {
  if (store.kind !== 'etcd') return []
  const plain = store.endpoints.filter(text => text.startsWith('http:'))
  if ((store.caFile ?? store.certFile) !== undefined)
    return plain.map(
      text => `Certificates are given but the connection to ${text} is not encrypted: write https:// there`,
    )
  if (store.password === undefined) return []
  return plain
    .filter(text => !isLoopback(text))
    .map(text => `The password of etcd user '${store.username}' goes to ${text} unencrypted: use https`)
}

function isLoopback(url: string): boolean {
  return /^(localhost|127\.[\d.]+|::1)$/.test(hostOf(url))
}

function etcdOptions(values: StoreValues, share: AgentsShare): EtcdOptions {
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
    endpoints: endpoints.map(text => endpoint(text, scheme, values['etcd-endpoints'])),
    // As flanneld joins keys (Go's path.Join): `//a/b/` is `/a/b`.
    prefix: posix.normalize(values['etcd-prefix']).replace(/\/$/, ''),
    caFile,
    certFile,
    keyFile,
    username: nonEmpty(values['etcd-username']),
    password: etcdPassword(values),
    proxy: etcdProxy(values['etcd-proxy']),
    renewMarginMs: share.renewMarginMs,
    cacheFile: share.cacheFile,
  }
}

function etcdProxy(text: string): string | undefined {
  if (text === '') return undefined
  const url = parseUrl(text)
  if (url?.protocol === 'http:' && url.hostname !== '') return url.href
  throw new ConfigError(
    `--etcd-proxy is '${shownValue(storeFlags['etcd-proxy'], text)}': it must look like http://host:port`,
  )
}

function etcdPassword(values: StoreValues): string | undefined {
  const [password, file] = [nonEmpty(values['etcd-password']), nonEmpty(values['etcd-password-file'])]
  if (file === undefined) return password
  if (password === undefined) return readSecret('etcd-password-file', file)
  throw new ConfigError('Both --etcd-password and --etcd-password-file are given: leave out --etcd-password')
}

function kubernetesOptions(values: StoreValues, env: Env, share: AgentsShare): KubernetesOptions {
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

/** `host:port` or a URL; the default port is etcd's 2379. `all`: the list, as a password may have a comma. */
function endpoint(text: string, scheme: 'http' | 'https', all: string): string {
  const [, given, host, port] =
    /^(?:(https?):\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s:/?#@[\]]+)(?::(\d{1,5}))?\/?$/.exec(text) ?? []
  if (host === undefined || Number(port ?? 1) > 65_535) {
    const hasLogin = all.includes('@')
    const user = hasLogin ? '; user and password belong into --etcd-username and --etcd-password-file' : ''
    const shown = hasLogin ? shownValue(storeFlags['etcd-endpoints'], all) : text
    throw new ConfigError(`--etcd-endpoints has '${shown}': it must look like http://host:2379${user}`)
  }
  return `${given ?? scheme}://${host}:${port ?? 2379}`
}
