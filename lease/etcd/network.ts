import { shellQuote } from '../common/shell_quote.ts'
import { type NetworkConfig, NetworkConfigError, parseNetworkConfig } from '../network_config.ts'
import type { EtcdOptions } from '../options.ts'
import type { EtcdContext } from './context.ts'
import { oneKey } from './keys.ts'
import { NO_LEASE } from './record.ts'

const ACTIVITY = 'read the network config'
const example = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'

/**
 * Waits for `<prefix>/config`; while etcd is away the last one seen serves. Rejects with NetworkConfigError where it is
 * wrong.
 */
export async function networkConfig(
  ctx: EtcdContext,
  options: EtcdOptions,
  signal: AbortSignal,
): Promise<NetworkConfig> {
  const key = ctx.configKey
  for (let attempt = 0; ; attempt++) {
    const text = await ctx.patience.untilOr(
      ACTIVITY,
      () => readConfig(ctx, signal),
      () => cachedConfig(ctx),
      signal,
    )
    if (text !== missing) return parseNetworkConfig(text)
    const lostText = ctx.client.wasReset ? ctx.recall.networkConfig : undefined
    if (attempt === 0) {
      const next = lostText === undefined ? 'waiting for it' : 'going on with the one that it had'
      ctx.log.warn({ key }, `etcd has no network config, ${next}: ${putCommand(ctx, options, key)}`)
    }
    if (lostText !== undefined) return parseNetworkConfig(lostText)
    await ctx.patience.pause(attempt, signal)
  }
}

/** Stores a network config where there is none. Resolves to whether it was stored. */
export async function offerNetworkConfig(
  ctx: EtcdContext,
  text: string,
  signal: AbortSignal,
): Promise<boolean> {
  parseNetworkConfig(text)
  const transaction = {
    conditions: [{ absent: oneKey(ctx.configKey) }],
    changes: [{ put: ctx.configKey, value: text, leaseId: NO_LEASE }],
  }
  const outcome = await ctx.patience.until(
    'store a network config',
    () => ctx.client.commit(transaction, signal),
    signal,
  )
  return outcome.held
}

/** Once etcd answers again: what a network config from the cache was good for. Rejects with NetworkConfigError. */
export async function confirmConfig(ctx: EtcdContext, signal: AbortSignal): Promise<void> {
  const believed = ctx.recall.unconfirmedConfig
  if (believed === undefined) return
  const text = await readConfig(ctx, signal)
  ctx.recall.unconfirmedConfig = undefined
  if (text !== missing && text !== believed)
    throw new NetworkConfigError(
      `The network config has changed since it was cached, from ${believed} to ${text}: start again to use it`,
    )
}

const missing = Symbol('no network config')

async function readConfig(ctx: EtcdContext, signal: AbortSignal): Promise<string | typeof missing> {
  const listing = await ctx.client.range(oneKey(ctx.configKey), signal)
  const [kv] = listing.kvs
  if (!kv) return missing
  ctx.recall.sawNetworkConfig(kv.value)
  return kv.value
}

function cachedConfig(ctx: EtcdContext): string | undefined {
  const { networkConfig: text, savedAtMs } = ctx.recall
  if (text === undefined || savedAtMs === undefined) return undefined
  ctx.recall.unconfirmedConfig = text
  const at = new Date(savedAtMs).toISOString()
  ctx.log.warn({ savedAt: at }, `etcd is away: starting with the network config and leases of ${at}`)
  return text
}

/** What an operator can paste into a shell on this host. The password is asked for, not shown. */
function putCommand(ctx: EtcdContext, options: EtcdOptions, key: string): string {
  const flags: string[] = [`--endpoints=${[...ctx.client.endpoints].sort().join(',')}`]
  if (options.caFile !== undefined) flags.push(`--cacert=${options.caFile}`)
  if (options.certFile !== undefined) flags.push(`--cert=${options.certFile}`)
  if (options.keyFile !== undefined) flags.push(`--key=${options.keyFile}`)
  if (options.username !== undefined) flags.push(`--user=${options.username}`)
  const words = ['etcdctl', ...flags, 'put', key, ctx.recall.networkConfig ?? example]
  return `ETCDCTL_API=3 ${shellQuote(...words)}`
}
