import { type NetworkConfig, parseNetworkConfig } from '../network_config.ts'
import type { EtcdOptions } from '../options.ts'
import type { EtcdContext } from './context.ts'
import { oneKey } from './keys.ts'

const ACTIVITY = 'read the network config'
const example = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'

/** Waits for `<prefix>/config`; rejects with NetworkConfigError where it is wrong. */
export async function networkConfig(
  ctx: EtcdContext,
  options: EtcdOptions,
  signal: AbortSignal,
): Promise<NetworkConfig> {
  const key = `${options.prefix}/config`
  for (let attempt = 0; ; attempt++) {
    const listing = await ctx.patience.until(ACTIVITY, () => ctx.client.range(oneKey(key), signal), signal)
    const [kv] = listing.kvs
    if (kv) return parseNetworkConfig(kv.value)
    if (attempt === 0)
      ctx.log.warn({ key }, `etcd has no network config, waiting for it: ${putCommand(ctx, options, key)}`)
    await ctx.patience.pause(attempt, signal)
  }
}

/** What an operator can paste into a shell on this host. The password is asked for, not shown. */
function putCommand(ctx: EtcdContext, options: EtcdOptions, key: string): string {
  const flags: string[] = [`--endpoints=${[...ctx.client.endpoints].sort().join(',')}`]
  if (options.caFile !== undefined) flags.push(`--cacert=${options.caFile}`)
  if (options.certFile !== undefined) flags.push(`--cert=${options.certFile}`)
  if (options.keyFile !== undefined) flags.push(`--key=${options.keyFile}`)
  if (options.username !== undefined) flags.push(`--user=${options.username}`)
  return `ETCDCTL_API=3 etcdctl ${flags.join(' ')} put ${key} '${example}'`
}

/** Stores a network config where there is none. Resolves to whether it was stored. */
export async function offerNetworkConfig(
  ctx: EtcdContext,
  options: EtcdOptions,
  text: string,
  signal: AbortSignal,
): Promise<boolean> {
  parseNetworkConfig(text)
  const key = `${options.prefix}/config`
  const transaction = {
    conditions: [{ absent: oneKey(key) }],
    changes: [{ put: key, value: text, leaseId: '0' }],
  }
  const outcome = await ctx.patience.until(
    'store a network config',
    () => ctx.client.commit(transaction, signal),
    signal,
  )
  return outcome.held
}
