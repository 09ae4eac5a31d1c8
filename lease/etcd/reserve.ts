import { fits } from '../allocate.ts'
import { printLease } from '../lease.ts'
import type { Ip } from '../net/ip.ts'
import type { Prefix } from '../net/prefix.ts'
import type { NetworkConfig } from '../network_config/network_config.ts'
import { parseNetworkConfig } from '../network_config/parser.ts'
import type { Released, Reserved } from '../reservations.ts'
import { LeaseRefusedError } from '../store.ts'
import { encodeLeaseValue, encodeSubnetKey } from '../wire.ts'
import { oneKey, type Transaction } from './client/keys.ts'
import type { EtcdContext } from './records/context.ts'
import {
  isHeldBy,
  listRecords,
  NO_LEASE,
  olderOwner,
  type Record,
  readRecord,
  vacant,
} from './records/record.ts'

/** flannel's reservation: a subnet key without an etcd lease (flannel's documents, "Reservations"). */
export async function reserve(
  ctx: EtcdContext,
  subnets: readonly Prefix[],
  publicIps: readonly Ip[],
  signal: AbortSignal,
): Promise<Reserved> {
  const key = ctx.folder + encodeSubnetKey(subnets)
  return untilDecided(ctx, `reserve ${subnets.join(' + ')}`, signal, async () => {
    const network = await fittingNetwork(ctx, subnets, signal)
    const { records } = await listRecords(ctx, ({ kv }) => kv.key === key, signal)
    const own = records.find(record => record.kv.key === key)
    const owner = network && olderOwner(network, records, subnets, key, Number.POSITIVE_INFINITY)
    if (owner) throw refused(subnets, owner)
    if (!own) {
      const value = encodeLeaseValue({ publicIps, backendType: '', backendData: [] })
      const put = { put: key, value, leaseId: NO_LEASE }
      return {
        transaction: { conditions: [vacant(ctx.folder, subnets)], changes: [put] },
        result: 'reserved',
      }
    }
    if (!isHeldBy(own.lease, publicIps)) throw refused(subnets, own)
    if (own.kv.leaseId === NO_LEASE) return { result: 'was reserved' }
    return { transaction: rewritten(own, NO_LEASE), result: 'reserved' }
  })
}

export async function release(
  ctx: EtcdContext,
  subnets: readonly Prefix[],
  signal: AbortSignal,
): Promise<Released> {
  const key = ctx.folder + encodeSubnetKey(subnets)
  return untilDecided(ctx, `release ${subnets.join(' + ')}`, signal, async () => {
    const [kv] = (await ctx.client.range(oneKey(key), signal)).kvs
    const own = kv && readRecord(ctx.folder, kv)
    if (!own || own.kv.leaseId !== NO_LEASE)
      throw new LeaseRefusedError(
        `${subnets.join(' + ')} is not reserved: ${own ? `${key} is a lease that runs out` : `there is no ${key}`}`,
      )
    const conditions = [{ key, modRevision: own.kv.modRevision }]
    if (!own.lease || own.lease.backendType === '')
      return { transaction: { conditions, changes: [{ remove: key }] }, result: 'removed' }
    const leaseId = await ctx.client.grant(ctx.tuning.ttlSeconds, signal)
    return { transaction: rewritten(own, leaseId), result: 'runs out' }
  })
}

/** Commits the transaction that `look` returns; looks again where a key changed meanwhile. */
async function untilDecided<T>(
  ctx: EtcdContext,
  activity: string,
  signal: AbortSignal,
  look: () => Promise<{ readonly transaction?: Transaction; readonly result: T }>,
): Promise<T> {
  const attempt = async () => {
    const { transaction, result } = await look()
    const isDone = !transaction || (await ctx.client.commit(transaction, signal)).held
    return isDone ? { result } : undefined
  }
  for (let races = 0; ; races++) {
    const decided = await ctx.retrier.until(activity, attempt, signal)
    if (decided) return decided.result
    await ctx.retrier.pause(races, signal)
  }
}

/** Undefined where there is no network config yet. */
async function fittingNetwork(
  ctx: EtcdContext,
  subnets: readonly Prefix[],
  signal: AbortSignal,
): Promise<NetworkConfig | undefined> {
  const [config] = (await ctx.client.range(oneKey(ctx.configKey), signal)).kvs
  if (!config) return undefined
  const network = parseNetworkConfig(config.value)
  if (fits(network, subnets)) return network
  throw new LeaseRefusedError(
    `${subnets.join(' + ')} is no subnet of the network config ${config.value}: take one of its length between its ` +
      'SubnetMin and SubnetMax, one a family',
  )
}

function rewritten(own: Record, leaseId: string): Transaction {
  const { key, modRevision, value } = own.kv
  return { conditions: [{ key, modRevision }], changes: [{ put: key, value, leaseId }] }
}

function refused(subnets: readonly Prefix[], owner: Record): LeaseRefusedError {
  const who = owner.lease ? printLease(owner.lease) : owner.kv.key
  return new LeaseRefusedError(
    `Cannot reserve ${subnets.join(' + ')}: ${who} holds it; choose another, or delete ${owner.kv.key} if that node is gone`,
  )
}
