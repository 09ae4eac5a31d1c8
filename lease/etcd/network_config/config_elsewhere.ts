import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { orUndefined } from '../../common/errors.ts'
import { parseJson } from '../../json/json.ts'
import { isRecord } from '../../json/path.ts'
import type { EtcdOptions } from '../../options.ts'
import { readCredentials } from '../client/credentials.ts'
import { oneKey } from '../client/keys.ts'
import type { EtcdContext } from '../records/context.ts'

/** Prefixes that flannel's users have: flannel's default, those of distributions and of well-known guides. */
const PREFIXES = [
  '/coreos.com/network',
  '/flannel/network',
  '/atomic.io/network',
  '/kube-centos/network',
  '/kubernetes/network',
  '/kube/network',
  '/k8s/network',
  '/flannel',
  '/network',
]
/** An answer of etcd's v2 API with a network config has a few hundred bytes. */
const MAX_ANSWER_BYTES = 64 * 1024

/** Where else etcd has a network config, as words that follow "there is one"; skips unreadable places. */
export async function findConfigElsewhere(
  ctx: EtcdContext,
  options: EtcdOptions,
  signal: AbortSignal,
): Promise<string | undefined> {
  for (const prefix of PREFIXES.filter(it => it !== options.prefix)) {
    const listing = await ctx.client.range(oneKey(`${prefix}/config`), signal).catch(() => undefined)
    signal.throwIfAborted()
    if (listing === undefined) break
    if (listing.kvs.length > 0) return `under ${prefix}/config: set --etcd-prefix=${prefix} if it is yours`
  }
  for (const prefix of new Set([options.prefix, ...PREFIXES])) {
    const found = await readV2(ctx.client.endpoint, `${prefix}/config`, options, signal).catch(
      () => undefined,
    )
    signal.throwIfAborted()
    if (found === undefined) return undefined
    if (found)
      return `in etcd's v2 store under ${prefix}/config, which the v3 API does not show: put it again with v3`
  }
  return undefined
}

/** Whether the v2 store has that key; undefined where there is no v2 API. */
async function readV2(
  endpoint: string,
  path: string,
  options: EtcdOptions,
  signal: AbortSignal,
): Promise<boolean | undefined> {
  const { rootCertificate: ca, certChain: cert, privateKey: key } = await readCredentials(endpoint, options)
  return await new Promise((resolve, reject) => {
    const send = endpoint.startsWith('https:') ? httpsRequest : httpRequest
    const how = { ca, cert, key, signal, timeout: 2_000 }
    const request = send(`${endpoint}/v2/keys${path}`, how, response => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
        if (text.length > MAX_ANSWER_BYTES) response.destroy(new Error('the answer is too long'))
      })
      response.on('error', reject)
      response.on('end', () => resolve(v2Answer(text)))
    })
    request.on('timeout', () => request.destroy(new Error('no answer in time')))
    request.on('error', reject)
    request.end()
  })
}

/** `{"action":"get","node":{...}}`, or `{"errorCode":100,...}` where there is no such key (etcd, v2 API). */
function v2Answer(text: string): boolean | undefined {
  const answer = orUndefined(() => parseJson(text, MAX_ANSWER_BYTES))
  if (!isRecord(answer)) return undefined
  if ('node' in answer) return true
  return 'errorCode' in answer ? false : undefined
}
