/**
 * etcd decides who owns a subnet, by comparison: a key is created only while no key holds its subnet, and
 * written only at the revision that was read. No write here is unconditional.
 */
import type { Lease } from '../../lease.ts'
import type { Prefix } from '../../net/prefix.ts'
import type { LeaseRequest } from '../../store.ts'
import { decodeLease, encodeSubnetKey } from '../../wire.ts'
import { EtcdError } from '../client/error.ts'
import { type KeyValue, keysUnder, type Outcome, type Transaction } from '../client/keys.ts'
import type { EtcdContext } from '../records/context.ts'
import { NO_LEASE, olderOwner, readRecords, vacant } from '../records/record.ts'

/** A subnet that this node holds, and its key as this node last saw it. */
export interface Claim {
  readonly request: LeaseRequest
  readonly lease: Lease
  /** The lease's text: the value that the key must have. */
  readonly value: string
  readonly kv: KeyValue
  /** When the etcd lease was granted, monotonic; undefined: none (reservation), or another process's. */
  readonly grantedAt: number | undefined
  /** False while the claim comes from the cache and etcd has not confirmed it. */
  readonly confirmed: boolean
  /** The write (see `writeOf`) by which another node took the key, also if it publishes our IP later. */
  readonly takenBy?: string
}

/** The key changed since it was read: read it again. */
export const lost = Symbol('lost the race')
export type Lost = typeof lost

/**
 * Creates the key for subnets that were free in the listing of `revision`. A key created since then that
 * overlaps in the second family is older and wins.
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
  const transaction = {
    conditions: [vacant(ctx.folder, prefixes)],
    changes: [{ put: key, value, leaseId }],
    createdSince: { range: keysUnder(ctx.folder), revision },
  }
  const outcome = await attach(ctx, leaseId, transaction, signal)
  if (!outcome.held) return lost
  const at = outcome.revision
  const older = olderOwner(request.network, readRecords(ctx.folder, outcome.created), prefixes, key, at)
  if (older) {
    ctx.log.debug({ key, older: older.kv.key }, `Gave ${key} back: ${older.kv.key} is older and overlaps it`)
    if (await remove(ctx, { key, modRevision: at }, signal)) ctx.grants.giveBack(leaseId)
    return lost
  }
  await ctx.grants.wrote(key, leaseId, signal)
  return claimOf(ctx, request, { key, value, createRevision: at, modRevision: at, leaseId })
}

/** Writes our value under our own key with a new etcd lease; a reservation stays without one. */
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
  const transaction = {
    conditions: [{ key: own.key, modRevision: own.modRevision }],
    changes: [{ put: own.key, value, leaseId }],
  }
  const outcome = await attach(ctx, leaseId, transaction, signal)
  if (!outcome.held) return lost
  // After a write without an answer the key may already use this etcd lease: revoking it would delete the
  // key.
  if (own.leaseId !== leaseId) await ctx.grants.revoke(own.leaseId, signal)
  await ctx.grants.wrote(own.key, leaseId, signal)
  return claimOf(ctx, request, { ...own, value, leaseId, modRevision: outcome.revision })
}

/** Writes a key with an etcd lease. Where the write fails, the etcd lease is kept for the next try. */
async function attach(
  { client, grants }: EtcdContext,
  leaseId: string,
  transaction: Transaction,
  signal: AbortSignal,
): Promise<Outcome> {
  try {
    const outcome = await client.commit(transaction, signal)
    if (!outcome.held) grants.giveBack(leaseId)
    return outcome
  } catch (error) {
    // An operator revoked it, or etcd lost its data: the next try needs a new one.
    if (error instanceof EtcdError && error.kind === 'no lease') grants.forget(leaseId)
    throw error
  }
}

export async function remove(
  ctx: EtcdContext,
  { key, modRevision }: { readonly key: string; readonly modRevision: number },
  signal: AbortSignal,
): Promise<boolean> {
  const transaction = { conditions: [{ key, modRevision }], changes: [{ remove: key }] }
  return (await ctx.client.commit(transaction, signal)).held
}

export function claimOf(ctx: EtcdContext, request: LeaseRequest, kv: KeyValue): Claim {
  const lease = decodeLease(kv.key.slice(ctx.folder.length), kv.value, kv.createRevision)
  ctx.grants.used(kv.leaseId)
  const grantedAt = ctx.grants.grantedAt(kv.leaseId)
  return { request, lease, value: kv.value, kv, grantedAt, confirmed: true }
}
