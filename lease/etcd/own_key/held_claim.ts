import { printLease } from '../../lease.ts'
import { LeaseLostError } from '../../store.ts'
import type { KeyValue } from '../client/keys.ts'
import type { EtcdContext } from '../records/context.ts'
import { isHeldBy, isReservation, listRecords, NO_LEASE, type Record } from '../records/record.ts'
import { ask, touch, writeOf } from './ask.ts'
import { type Claim, claimOf, type Lost, lost } from './claim.ts'
import { describeLease, macsOf } from './describe.ts'
import { candidate, hasSameMac } from './identity.ts'
import { Rewrites } from './rewrites.ts'

/** A claim, and when to write it again. Decides of each state of our key whether it is still ours. */
export class HeldClaim {
  readonly #ctx: EtcdContext
  readonly #marginMs: number
  readonly #rewrites: Rewrites
  claim: Claim
  /** When the key is due to be written again, on the monotonic clock. */
  renewAt: number
  #wroteAt = Number.NEGATIVE_INFINITY

  constructor(ctx: EtcdContext, claim: Claim, marginMs: number) {
    this.#ctx = ctx
    this.#marginMs = marginMs
    this.#rewrites = new Rewrites(ctx)
    this.claim = claim
    this.renewAt = claim.kv.value === claim.value ? this.#renewalOf(claim) : ctx.tuning.clock.now()
  }

  /** When the lease ends if it is not renewed, in Unix ms; undefined for a reservation. */
  get endsAtMs(): number | undefined {
    const { clock, ttlSeconds } = this.#ctx.tuning
    const { kv, grantedAt } = this.claim
    if (kv.leaseId === NO_LEASE || grantedAt === undefined) return undefined
    return clock.date() + grantedAt + ttlSeconds * 1000 - clock.now()
  }

  wrote(claim: Claim): void {
    this.#wroteAt = this.#ctx.tuning.clock.now()
    this.renewAt = this.#renewalOf(claim)
  }

  /** etcd was seen to hold the claim. Returns whether the key has the value that this node publishes. */
  confirm(claim: Claim): boolean {
    if (!this.claim.confirmed)
      this.#ctx.log.info({ key: claim.kv.key }, `etcd confirms our lease ${printLease(claim.lease)}`)
    this.claim = { ...claim, confirmed: true }
    const isAsPublished = claim.kv.value === claim.value
    if (isAsPublished) this.#rewrites.isAsWritten()
    return isAsPublished
  }

  over(): void {
    this.#rewrites.over()
  }

  /** Takes in the key's current state. Throws LeaseLostError where the key is another node's. */
  takeIn(record: Record, signal: AbortSignal): Promise<Lost | undefined> | Lost | undefined {
    const { kv } = record
    const { kv: before, confirmed } = this.claim
    if (!confirmed) return this.#confirmCached(record, signal)
    // Both revisions must be equal: after a restore, another write may have the same modRevision.
    if (kv.modRevision === before.modRevision && kv.createRevision === before.createRevision) return undefined
    if (kv.value === before.value && kv.leaseId === before.leaseId) return this.#answer(kv, signal)
    if (this.claim.takenBy === writeOf(kv)) throw this.#lost(record, 'was taken by')
    const { lease } = record
    if (lease === undefined || this.#ctx.grants.grantedAt(kv.leaseId) !== undefined)
      return this.#rewritten(record)
    const hasOurIp = isHeldBy(lease, this.claim.request.publicIps)
    const hasOurMac = hasSameMac(lease, this.claim.lease)
    if (hasOurIp && (hasOurMac || macsOf(lease).length === 0)) return this.#rewritten(record)
    if (!hasOurIp && !hasOurMac) return this.#takeInForeign(record, signal)
    // Three causes are possible: a stray write to our key, a host with our address or a copy of this one, or
    // a host that took the key while we did not reach etcd. Asking tells.
    return this.#askWriter(record, hasOurMac ? 'MAC' : 'public IP', signal)
  }

  /**
   * Another node's value is under our key. If it is a copy of the value under that node's own key, written by
   * hand and so without an etcd lease, it is a stray write: no node holds two subnets. That node is not
   * asked, because it touches the copy itself, to find out whether another host has its public IP. Any other
   * value may be an operator's decision, or a new owner.
   */
  async #takeInForeign(record: Record, signal: AbortSignal): Promise<undefined> {
    const { kv, lease } = record
    const isOriginal = (other: Record) =>
      other.kv.leaseId !== NO_LEASE &&
      other.kv.createRevision < kv.modRevision &&
      hasSameMac(other.lease, lease)
    const isCopy =
      kv.leaseId === NO_LEASE && (await listRecords(this.#ctx, () => false, signal)).records.some(isOriginal)
    if (!isCopy) throw this.#lost(record, 'was taken by')
    return this.#rewritten(record)
  }

  async #askWriter(record: Record, common: string, signal: AbortSignal): Promise<Lost | undefined> {
    const answer = await ask(this.#ctx, record.kv, signal)
    if (answer === undefined) return lost
    if (answer.isAlive) throw this.#lost(record, `was taken by a host with our ${common}, whose agent runs:`)
    return this.#rewritten({ ...record, kv: { ...record.kv, modRevision: answer.modRevision } })
  }

  async #answer(kv: KeyValue, signal: AbortSignal): Promise<Lost | undefined> {
    const modRevision = kv.leaseId === NO_LEASE ? await touch(this.#ctx, kv, signal) : kv.modRevision
    if (modRevision === undefined) return lost
    this.claim = { ...this.claim, kv: { ...kv, modRevision } }
    if (kv.leaseId !== NO_LEASE) this.renewAt = this.#ctx.tuning.clock.now()
    return undefined
  }

  /** The key may be another node's by now, or the cache may be a copy of another machine's. */
  async #confirmCached(record: Record, signal: AbortSignal): Promise<Lost | undefined> {
    const { request } = this.claim
    const found = candidate(this.#ctx, request, record)
    if (found === undefined || found.evidence === 'publicIp') throw this.#lost(record, 'was taken by')
    let { modRevision } = record.kv
    if (found.isDoubtful) {
      const answer = await ask(this.#ctx, record.kv, signal)
      if (answer === undefined) return lost
      if (answer.isAlive) throw this.#lost(record, 'is held by another host, whose agent runs:')
      modRevision = answer.modRevision
    }
    this.#ctx.log.debug({ key: record.kv.key }, `${record.kv.key} is to be written again`)
    this.claim = { ...this.claim, kv: { ...record.kv, modRevision } }
    this.renewAt = this.#ctx.tuning.clock.now()
    return undefined
  }

  /** Written by us without an answer, by an operator as a reservation, or by another program. */
  #rewritten(record: Record): undefined {
    const { kv, lease } = record
    const { request, kv: before, value } = this.claim
    this.claim = { ...this.claim, kv }
    if (kv.value === value && this.#ctx.grants.grantedAt(kv.leaseId) !== undefined) {
      this.claim = claimOf(this.#ctx, request, kv)
      this.renewAt = this.#renewalOf(this.claim)
      return
    }
    if (isReservation(before, kv, lease) && before.leaseId !== NO_LEASE)
      this.#ctx.log.info({ key: kv.key }, `${kv.key} has become a reservation: it is no longer renewed`)
    else if (before.leaseId === NO_LEASE && kv.value === before.value)
      this.#ctx.log.info({ key: kv.key }, `${kv.key} is no longer a reservation: it is renewed`)
    else this.#rewrites.saw(record)
    if (kv.value === value && kv.leaseId === NO_LEASE) this.renewAt = Number.POSITIVE_INFINITY
    // Waits between repairs: two programs that each repaired the key at once would never stop.
    else this.renewAt = Math.max(this.#ctx.tuning.clock.now(), this.#wroteAt + this.#ctx.tuning.checkMs)
  }

  #lost({ kv, lease }: Record, how: string): LeaseLostError {
    const who = lease ? describeLease(lease) : 'a value that is no lease'
    const text = `Our subnet ${printLease(this.claim.lease)} ${how} ${who}`
    this.claim = { ...this.claim, takenBy: writeOf(kv) }
    return new LeaseLostError(
      `${text}; what is programmed stays, delete ${kv.key} if that host is wrong`,
      lease,
    )
  }

  /** When to renew: never for a reservation, at once for an unknown etcd lease. */
  #renewalOf(claim: Claim): number {
    if (claim.kv.leaseId === NO_LEASE) return Number.POSITIVE_INFINITY
    if (claim.grantedAt === undefined) return this.#ctx.tuning.clock.now()
    const ttlMs = this.#ctx.tuning.ttlSeconds * 1000
    return claim.grantedAt + Math.max(ttlMs - this.#marginMs, ttlMs / 3)
  }
}
