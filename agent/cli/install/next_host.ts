import { join } from 'node:path'
import { readWhole } from '../../../lease/common/replace_file.ts'
import { shellQuote } from '../../../lease/common/shell_quote.ts'
import type { AgentConfig } from '../../config/config.ts'
import type { StatusDocument } from '../../diagnose/status_document.ts'
import { tellAgent } from '../source/ask_node.ts'

const ownOnly =
  /^--(first-host|dry-run|wait|join|member|iface|iface-regex|iface-can-reach|public-ip|public-ipv6|embedded-etcd-\w+|etcd-endpoints)\b/

/** The command that makes the next host a node, once this one is. */
export async function nextHost(config: AgentConfig, words: readonly string[]): Promise<string> {
  const shared = words.filter(word => !ownOnly.test(word)).map(word => word.replace(/=true$/, ''))
  const command = (store: readonly string[]) => shellQuote('twill', 'install', ...store, ...shared)
  const { store } = config
  if (store.kind !== 'etcd' || store.embedded === undefined || store.joinSecret !== undefined)
    return command(storeFlags(config, words))
  const { isPlain, dataDir } = store.embedded
  const { signal } = new AbortController()
  const token = isPlain ? undefined : await readWhole(join(dataDir, 'join-token'), signal)
  return command([`--join=${token?.trim() ?? (await address(config))}`])
}

/** The store's flags as given here; without any, those that the service has from variables. */
function storeFlags({ store }: AgentConfig, words: readonly string[]): readonly string[] {
  const given = words.filter(word => /^--(join|etcd-endpoints)=/.test(word))
  if (given.length > 0 || store.kind !== 'etcd') return given
  return [`--etcd-endpoints=${store.endpoints.join(',')}`]
}

/** This host's public IP, from the lease in the status of its agent: `10.244.1.0/24 at 192.168.0.7`. */
async function address({ localSocket = '' }: AgentConfig): Promise<string> {
  const flags = { 'local-socket': localSocket, timeout: 0 }
  const { lease } = await tellAgent<StatusDocument>(flags, 'status', 'GET')
  return / at ([^\s+]+)/.exec(lease ?? '')?.[1] ?? 'ADDRESS'
}
