import { join } from 'node:path'
import { readWhole } from '../../../lease/common/replace_file.ts'
import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { printJoinToken } from '../../../lease/join_token.ts'
import { urlHost } from '../../../lease/net/ip.ts'
import type { StoreOptions } from '../../../lease/options.ts'
import type { AgentConfig } from '../../config/config.ts'
import { type Env, readSettings, storeFlags } from '../../config/flags.ts'
import { splitWord } from '../../config/go_flags.ts'
import { shownValue } from '../../config/shown.ts'
import type { StatusDocument } from '../../diagnose/status_document.ts'
import { tellAgent } from '../source/ask_node.ts'
import { isFirstHost } from './preflight.ts'

/** Flags of `twill install` that are for this host alone, or that name the store in this host's way. */
const ownOnly =
  /^(first-host|dry-run|wait|join|member|iface|iface-regex|iface-can-reach|public-ip|public-ipv6|embedded-etcd-.*|etcd-endpoints|etcd-password)$/

/**
 * The command that makes the next host a node, once this one is. `words`: of `twill install`, `--name=value`;
 * `env`: the service's variables, which the next host does not have.
 */
export async function nextHost(config: AgentConfig, words: readonly string[], env: Env): Promise<string> {
  const shared = [...words, ...storeVariables(words, env)].filter(word => !ownOnly.test(nameOf(word)))
  const { store } = config
  const token = await joinToken(store)
  // The token replaces all flags of etcd: the agent refuses both.
  const isKept = (word: string) => token === undefined || !/^etcd-(?!proxy$)/.test(nameOf(word))
  const place = token ?? (isFirstHost(config) ? await address(config) : undefined)
  const reached = place === undefined ? endpoints(words, store) : [`--join=${place}`]
  const flags = shared.filter(isKept).map(word => word.replace(/=true$/, ''))
  return shellQuote('twill', 'install', ...reached, ...flags)
}

function nameOf(word: string): string {
  return splitWord(word).name
}

/** The store's settings that only variables give, as flags, without a login in a URL. */
function storeVariables(words: readonly string[], env: Env): readonly string[] {
  const { values, sources } = readSettings(storeFlags, [], env)
  return Object.entries(storeFlags).flatMap(([name, flag]) =>
    sources.has(name) && !words.some(word => nameOf(word) === name)
      ? [`--${name}=${shownValue(flag, `${values[name as keyof typeof values]}`)}`]
      : [],
  )
}

/** Undefined for a store without a token. The next host does not have a file with it. */
async function joinToken(store: StoreOptions): Promise<string | undefined> {
  if (store.kind !== 'etcd') return undefined
  const { endpoints, prefix, joinSecret, embedded } = store
  if (joinSecret !== undefined) return printJoinToken({ endpoints, prefix, secret: joinSecret })
  if (embedded === undefined || embedded.isPlain) return undefined
  const { signal } = new AbortController()
  return (await readWhole(join(embedded.dataDir, 'join-token'), signal))?.trim()
}

/** The address of etcd as given here; without one, those that the service has from variables. */
function endpoints(words: readonly string[], store: StoreOptions): readonly string[] {
  const given = words.filter(word => /^--(join|etcd-endpoints)=/.test(word))
  if (given.length > 0 || store.kind !== 'etcd') return given
  return [`--etcd-endpoints=${store.endpoints.join(',')}`]
}

/**
 * Where this host's etcd without TLS answers: the public IP from the lease in the status of its agent, as in
 * `10.244.1.0/24 at 192.168.0.7`, with etcd's port if that is another than 2379.
 */
async function address({ localSocket = '', store }: AgentConfig): Promise<string> {
  const flags = { 'local-socket': localSocket, timeout: 0 }
  const { lease } = await tellAgent<StatusDocument>(flags, 'status', 'GET')
  const host = / at ([^\s+]+)/.exec(lease ?? '')?.[1] ?? 'ADDRESS'
  const port = store.kind === 'etcd' ? /:\d+$/.exec(store.endpoints[0] ?? '')?.[0] : undefined
  return port === undefined || port === ':2379' ? host : `${urlHost(host)}${port}`
}
