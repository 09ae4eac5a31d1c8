/**
 * Ownership is decided by comparison inside etcd and by nothing else: a key is created only while none stands for its
 * subnet, and written only while it stands at the revision that was read. No write here is unconditional.
 */
import type { Lease } from '../lease.ts'
import type { Prefix } from '../net/prefix.ts'
import type { LeaseRequest } from '../store.ts'
import { decodeLease, encodeSubnetKey } from '../wire.ts'
import type { EtcdContext } from './context.ts'
import { type KeyValue, keysUnder } from './keys.ts'
import { NO_LEASE, olderOwner, readRecords, vacant } from './record.ts'

/** What this node holds, and in which state it saw it last. */
export interface Claim {
  readonly request: LeaseRequest
  /** As this node publishes it. */
  readonly lease: Lease
  /** The text of it, which is to stand under the key. */
  readonly value: string
  /** The key as it was seen or written last. */
  readonly kv: KeyValue
  /** When the etcd lease was granted, on the clock that never jumps; undefined for a reservation and a foreign lease. */
  readonly grantedAt: number | undefined
  /** False where it comes from the cache and etcd has not been asked yet. */
  readonly confirmed: boolean
}

/** Another client was faster: read again. */
export const lost = Symbol('lost the race')
export type Lost = typeof lost

/**
 * Creates the key for these subnets. `revision` is that of the listing by which they were found free: what was created
 * since then and overlaps in the second family is older and wins.
 */
export async function create(
  ctx: EtcdContext,
  request: LeaseRequest,
  prefixes: readonly Prefix[],
  value: string,
  revision: number,
  signal: AbortSignal,
): Promise<Claim | Lost> {
  const key = ctx.folder + encodeSubnetKey(prefixes)
  const leaseId = await ctx.grants.take(key, signal)
  const outcome = await ctx.client.commit(
    {
      conditions: [vacant(ctx.folder, prefixes)],
      changes: [{ put: key, value, leaseId }],
      createdSince: { range: keysUnder(ctx.folder), revision },
    },
    signal,
  )
  if (!outcome.held) {
    ctx.grants.giveBack(leaseId)
    return lost
  }
  const at = outcome.revision
  const older = olderOwner(request.network, readRecords(ctx.folder, outcome.created), prefixes, key, at)
  if (older) {
    ctx.log.debug({ key, older: older.kv.key }, `Gave ${key} back: ${older.kv.key} is older and overlaps it`)
    if (await remove(ctx, { key, modRevision: at }, signal)) ctx.grants.giveBack(leaseId)
    return lost
  }
  return claimOf(ctx, request, { key, value, createRevision: at, modRevision: at, leaseId })
}

/** Writes our value under our own key with a fresh etcd lease; a reservation stays without one. */
export async function rewrite(
  ctx: EtcdContext,
  request: LeaseRequest,
  own: KeyValue,
  value: string,
  isReserved: boolean,
  signal: AbortSignal,
): Promise<Claim | Lost> {
  if (isReserved && own.leaseId === NO_LEASE && own.value === value) return claimOf(ctx, request, own)
  const leaseId = isReserved ? NO_LEASE : await ctx.grants.take(own.key, signal)
  const outcome = await ctx.client.commit(
    {
      conditions: [{ key: own.key, modRevision: own.modRevision }],
      changes: [{ put: own.key, value, leaseId }],
    },
    signal,
  )
  if (!outcome.held) {
    ctx.grants.giveBack(leaseId)
    return lost
  }
  await ctx.grants.revoke(own.leaseId, signal)
  return claimOf(ctx, request, { ...own, value, leaseId, modRevision: outcome.revision })
}

/** False where it is not as it was read any more; then nothing was removed. */
export async function remove(
  ctx: EtcdContext,
  { key, modRevision }: { readonly key: string; readonly modRevision: number },
  signal: AbortSignal,
): Promise<boolean> {
  const outcome = await ctx.client.commit(
    { conditions: [{ key, modRevision }], changes: [{ remove: key }] },
    signal,
  )
  return outcome.held
}

/** What we hold where the key stands as we published it. */
export function claimOf(ctx: EtcdContext, request: LeaseRequest, kv: KeyValue): Claim {
  const lease = decodeLease(kv.key.slice(ctx.folder.length), kv.value, kv.createRevision)
  ctx.grants.used(kv.leaseId)
  const grantedAt = ctx.grants.grantedAt(kv.leaseId)
  return { request, lease, value: kv.value, kv, grantedAt, confirmed: true }
}
