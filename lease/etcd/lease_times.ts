/** When leases were renewed last and when they end. etcd answers for one etcd lease at a time. */
import type { LeaseTimes } from '../store.ts'
import { type KeyValue, keysUnder } from './client/keys.ts'
import type { EtcdContext } from './records/context.ts'
import { NO_LEASE } from './records/record.ts'

/** Calls at the same time: one connection answers some thousands a second. */
const AT_ONCE = 64

export async function leaseTimes(
  { client, folder, tuning }: EtcdContext,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, LeaseTimes>> {
  const withoutValue = ({ key, leaseId }: KeyValue) => ({ key, leaseId })
  const { kvs } = await client.rangeAs(keysUnder(folder), withoutValue, signal)
  const times = new Map<string, LeaseTimes>()
  const left = kvs.values()
  const read = async ({ key, leaseId }: Pick<KeyValue, 'key' | 'leaseId'>) => {
    const node = key.slice(folder.length)
    if (leaseId === NO_LEASE) times.set(node, { renewedAtMs: undefined, endsAtMs: undefined })
    else {
      const { grantedSeconds, leftSeconds } = await client.timeToLive(leaseId, signal)
      const endsAtMs = tuning.clock.date() + leftSeconds * 1_000
      times.set(node, { renewedAtMs: endsAtMs - grantedSeconds * 1_000, endsAtMs })
    }
  }
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const kv of left) await read(kv)
    }),
  )
  return times
}
