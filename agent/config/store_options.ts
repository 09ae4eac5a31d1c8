import { posix } from 'node:path'
import type { EtcdOptions, KubernetesOptions, StoreOptions } from '../../lease/options.ts'
import { type Env, readSettings, storeFlags } from './flags.ts'
import type { FlagValues } from './go_flags.ts'
import { readSecret } from './secret_file.ts'
import { ConfigError, nonEmpty } from './values.ts'

/** What a store needs and only the agent sets. */
export interface AgentsShare {
  readonly renewMarginMs: number
  readonly cacheFile: string | undefined
  readonly setNodeNetworkUnavailable: boolean
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

/** Throws ConfigError. */
export function storeOptions(
  values: FlagValues<typeof storeFlags>,
  env: Env,
  share: AgentsShare,
): StoreOptions {
  return values['kube-subnet-mgr'] ? kubernetesOptions(values, env, share) : etcdOptions(values, share)
}

/** What to say at start of how the store is reached; one sentence each. */
export function storeWarnings(store: StoreOptions): readonly string[] {
  if (store.kind !== 'etcd' || (store.caFile ?? store.certFile) === undefined) return []
  return store.endpoints
    .filter(text => text.startsWith('http:'))
    .map(text => `Certificates are given but ${text} is spoken to in the clear: write https:// there`)
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
    password: etcdPassword(values),
    renewMarginMs: share.renewMarginMs,
    cacheFile: share.cacheFile,
  }
}

function etcdPassword(values: FlagValues<typeof storeFlags>): string | undefined {
  const [password, file] = [nonEmpty(values['etcd-password']), nonEmpty(values['etcd-password-file'])]
  if (file === undefined) return password
  if (password === undefined) return readSecret('etcd-password-file', file)
  throw new ConfigError('Both --etcd-password and --etcd-password-file are given: leave out --etcd-password')
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

/** `host:port` as well as a URL; the port is etcd's 2379 unless given. The message leaves out what stands before an `@`. */
function endpoint(text: string, scheme: 'http' | 'https'): string {
  const [, given, host, port] =
    /^(?:(https?):\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s:/?#@[\]]+)(?::(\d{1,5}))?\/?$/.exec(text) ?? []
  if (host === undefined || Number(port ?? 1) > 65_535) {
    const shown = text.replace(/^(\w+:\/\/)?.*@/, '$1***@')
    const user = text.includes('@')
      ? '; user and password belong into --etcd-username and --etcd-password-file'
      : ''
    throw new ConfigError(`--etcd-endpoints has '${shown}': it must look like http://host:2379${user}`)
  }
  return `${given ?? scheme}://${host}:${port ?? 2379}`
}

/** As flanneld joins keys (Go's path.Join): `//a/b/` is `/a/b`. */
function etcdPrefix(text: string): string {
  return posix.normalize(text).replace(/\/$/, '')
}
