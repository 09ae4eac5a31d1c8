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
import { isHeldBy, NO_LEASE, olderOwner, type Record, readRecords, vacant } from './record.ts'

/** What this node holds, and in which state it saw it last. */
export interface Claim {
  readonly request: LeaseRequest
  readonly lease: Lease
  /** The key as it stood at our last write or confirmation. */
  readonly kv: KeyValue
  /** When the etcd lease was granted, on the clock that never jumps; undefined for a reservation and a foreign lease. */
  readonly grantedAt: number | undefined
  /** False where it comes from the cache and etcd has not been asked yet. */
  readonly confirmed: boolean
}

/** Somebody else was faster: read again. */
export const lost = Symbol('lost the race')
export type Lost = typeof lost

/** The etcd leases that this process was granted: those, and no others, it may revoke. */
export class Grants {
  readonly #grantedAt = new Map<string, number>()
  #unused: string | undefined

  /** The one left over from a race that was lost, or a new one. */
  async take(ctx: EtcdContext, signal: AbortSignal): Promise<string> {
    const unused = this.#unused
    const age = ctx.tuning.clock.now() - (this.#grantedAt.get(unused ?? '') ?? 0)
    this.#unused = undefined
    if (unused !== undefined && age < (ctx.tuning.ttlSeconds * 1000) / 100) return unused
    const at = ctx.tuning.clock.now()
    const leaseId = await ctx.client.grant(ctx.tuning.ttlSeconds, signal)
    this.#grantedAt.set(leaseId, at)
    return leaseId
  }

  /** Only for one that is certainly attached to nothing. */
  giveBack(leaseId: string): void {
    this.#unused = leaseId
  }

  grantedAt(leaseId: string): number | undefined {
    return this.#grantedAt.get(leaseId)
  }

  /**
   * Called once the key is attached to another lease: revoking then removes nothing but what an unanswered write may have
   * left behind. Not worth a retry: it runs out by itself.
   */
  async revoke(ctx: EtcdContext, leaseId: string, signal: AbortSignal): Promise<void> {
    if (!this.#grantedAt.delete(leaseId)) return
    await ctx.client.revoke(leaseId, signal).catch(() => signal.throwIfAborted())
  }
}

/**
 * Creates the key for these subnets. `revision` is that of the listing by which they were found free: what was created
 * since then and overlaps in the second family is older and wins.
 */
export async function create(
  ctx: EtcdContext,
  grants: Grants,
  request: LeaseRequest,
  prefixes: readonly Prefix[],
  value: string,
  revision: number,
  signal: AbortSignal,
): Promise<Claim | Lost> {
  const key = ctx.folder + encodeSubnetKey(prefixes)
  const leaseId = await grants.take(ctx, signal)
  const outcome = await ctx.client.commit(
    {
      conditions: [vacant(ctx.folder, prefixes)],
      changes: [{ put: key, value, leaseId }],
      createdSince: { range: keysUnder(ctx.folder), revision },
    },
    signal,
  )
  if (!outcome.held) {
    grants.giveBack(leaseId)
    return lost
  }
  const at = outcome.revision
  const older = olderOwner(readRecords(ctx.folder, outcome.created), prefixes, key, at)
  if (older) {
    ctx.log.debug({ key, older: older.kv.key }, `Gave ${key} back: ${older.kv.key} is older and overlaps it`)
    await remove(ctx, { key, modRevision: at }, signal)
    return lost
  }
  const kv: KeyValue = { key, value, createRevision: at, modRevision: at, leaseId }
  return claimOf(ctx, grants, request, kv)
}

/** Writes our value under our own key with a fresh etcd lease; a reservation stays without one. */
export async function rewrite(
  ctx: EtcdContext,
  grants: Grants,
  request: LeaseRequest,
  own: KeyValue,
  value: string,
  signal: AbortSignal,
): Promise<Claim | Lost> {
  if (own.leaseId === NO_LEASE && own.value === value) return claimOf(ctx, grants, request, own)
  const leaseId = own.leaseId === NO_LEASE ? NO_LEASE : await grants.take(ctx, signal)
  const outcome = await ctx.client.commit(
    {
      conditions: [{ key: own.key, modRevision: own.modRevision }],
      changes: [{ put: own.key, value, leaseId }],
    },
    signal,
  )
  if (!outcome.held) {
    if (leaseId !== NO_LEASE) grants.giveBack(leaseId)
    return lost
  }
  await grants.revoke(ctx, own.leaseId, signal)
  return claimOf(ctx, grants, request, { ...own, value, leaseId, modRevision: outcome.revision })
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

export function claimOf(ctx: EtcdContext, grants: Grants, request: LeaseRequest, kv: KeyValue): Claim {
  const lease = decodeLease(kv.key.slice(ctx.folder.length), kv.value, kv.createRevision)
  return { request, lease, kv, grantedAt: grants.grantedAt(kv.leaseId), confirmed: true }
}

/**
 * Known by our public IP, or by an etcd lease of ours where the public IP has changed since. Reserved ones first, then the
 * oldest: the order in which a node with several leases keeps them.
 */
export function ownRecords(
  records: readonly Record[],
  grants: Grants,
  request: LeaseRequest,
): readonly Record[] {
  const reserved = (record: Record) => (record.kv.leaseId === NO_LEASE ? 0 : 1)
  return records
    .filter(
      ({ lease, kv }) =>
        isHeldBy(lease, request.publicIps) || (lease && grants.grantedAt(kv.leaseId) !== undefined),
    )
    .sort((a, b) => reserved(a) - reserved(b) || a.kv.createRevision - b.kv.createRevision)
}
