import { fits } from '../allocate.ts'
import { runTogether } from '../common/tasks.ts'
import { WakeUp } from '../common/wake_up.ts'
import { printLease } from '../lease.ts'
import { LeaseLostError } from '../store.ts'
import { ask, touch } from './ask.ts'
import { type Claim, claimOf, create, type Lost, lost, rewrite } from './claim.ts'
import type { EtcdContext } from './context.ts'
import { describeLease } from './describe.ts'
import { candidate, hasSameMac } from './identity.ts'
import { type KeyValue, keysUnder, oneKey } from './keys.ts'
import { Namesakes } from './namesakes.ts'
import {
  isHeldBy,
  isReservation,
  NO_LEASE,
  olderOwner,
  type Record,
  readRecord,
  readRecords,
} from './record.ts'
import { Rewrites } from './rewrites.ts'

const ACTIVITY = 'keep the lease'
const WATCHING = 'watch the lease'

/**
 * Keeps one claim. There is one way to act: read the own key and make it right. A watch on the key, the renewal's time and a
 * slow timer only say that it is time to look, so a lost or doubled event changes nothing.
 */
export class Keeper {
  readonly #ctx: EtcdContext
  readonly #marginMs: number
  readonly #onKept: () => void
  readonly #rewrites: Rewrites
  readonly #due = new WakeUp()
  #claim: Claim
  #renewAt: number
  #end: NodeJS.Timeout | undefined
  #wroteAt = Number.NEGATIVE_INFINITY

  constructor(ctx: EtcdContext, claim: Claim, marginMs: number, onKept: () => void) {
    this.#ctx = ctx
    this.#marginMs = marginMs
    this.#onKept = onKept
    this.#rewrites = new Rewrites(ctx)
    this.#claim = claim
    this.#renewAt = claim.kv.value === claim.value ? this.#renewalOf(claim) : ctx.tuning.clock.now()
  }

  get claim(): Claim {
    return this.#claim
  }

  /** When the lease ends if it is not renewed, as Date.now() counts; undefined for a reservation. */
  get endsAtMs(): number | undefined {
    const { clock, ttlSeconds } = this.#ctx.tuning
    const { kv, grantedAt } = this.#claim
    if (kv.leaseId === NO_LEASE || grantedAt === undefined) return undefined
    return clock.date() + grantedAt + ttlSeconds * 1000 - clock.now()
  }

  /** Resolves when the signal aborts, rejects with LeaseLostError. */
  async run(signal: AbortSignal): Promise<void> {
    const { onReset } = this.#ctx
    const look = () => this.#due.set()
    const namesakes = new Namesakes(this.#ctx, () => this.#claim.lease, this.#claim.request.publicIps)
    onReset.add(look)
    try {
      await runTogether(signal, [
        all => this.#watchKey(all),
        all => this.#loop(all),
        all => namesakes.run(all),
      ])
    } finally {
      onReset.delete(look)
      clearTimeout(this.#end)
      this.#rewrites.over()
    }
  }

  async #loop(signal: AbortSignal): Promise<never> {
    for (let races = 0; ; ) {
      const result = await this.#ctx.patience.until(ACTIVITY, () => this.#makeRight(signal), signal)
      if (result === lost) {
        await this.#ctx.patience.pause(races++, signal)
        continue
      }
      races = 0
      this.#settle(result)
      await this.#due.wait(this.#untilNextLook(), signal)
    }
  }

  #settle(claim: Claim): void {
    if (!this.#claim.confirmed)
      this.#ctx.log.info({ key: claim.kv.key }, `etcd confirms our lease ${printLease(claim.lease)}`)
    this.#claim = { ...claim, confirmed: true }
    this.#guardEnd(claim)
    if (claim.kv.value !== claim.value) return
    this.#ctx.recall.sawOwn(claim.kv)
    this.#rewrites.standsAsOurs()
    this.#onKept()
  }

  /** Loud, and without further effect: what is programmed goes on working, and whether the subnet is ours still, etcd will say. */
  #guardEnd({ kv, grantedAt }: Claim): void {
    clearTimeout(this.#end)
    if (kv.leaseId === NO_LEASE || grantedAt === undefined) return
    const { clock, ttlSeconds } = this.#ctx.tuning
    const ms = Math.min(grantedAt + ttlSeconds * 1000 - clock.now(), 2 ** 31 - 1)
    const say = () =>
      this.#ctx.log.error(
        { key: kv.key, trouble: this.#ctx.patience.trouble },
        `Our lease ${kv.key} has run out, since etcd could not be reached to renew it: another node may be given its subnet`,
      )
    this.#end = setTimeout(say, ms).unref()
  }

  #untilNextLook(): number {
    const { checkMs, clock, random } = this.#ctx.tuning
    return Math.max(0, Math.min(checkMs * (1 - random() / 2), this.#renewAt - clock.now()))
  }

  async #makeRight(signal: AbortSignal): Promise<Claim | Lost> {
    const listing = await this.#ctx.client.range(oneKey(this.#claim.kv.key), signal)
    const [kv] = listing.kvs
    if (kv === undefined) return this.#reclaim(signal)
    const record = readRecord(this.#ctx.folder, kv)
    if (record === undefined) throw new TypeError(`Cannot keep ${kv.key}: it is no subnet key`)
    if ((await this.#takeIn(record, signal)) === lost) return lost
    if (this.#ctx.tuning.clock.now() < this.#renewAt) return this.#claim
    return this.#write(record, signal)
  }

  /** Takes the key as it stands into the claim. Throws LeaseLostError where it is another's. */
  #takeIn(record: Record, signal: AbortSignal): Promise<Lost | undefined> | Lost | undefined {
    const { kv } = record
    const { kv: before, confirmed } = this.#claim
    if (!confirmed) return this.#confirm(record, signal)
    if (kv.modRevision === before.modRevision) return undefined
    if (kv.value === before.value && kv.leaseId === before.leaseId) return this.#answer(kv, signal)
    const { lease } = record
    const isOurs = isHeldBy(lease, this.#claim.request.publicIps)
    if (lease === undefined || isOurs || this.#ctx.grants.grantedAt(kv.leaseId) !== undefined)
      return this.#rewritten(record)
    // Only the address in it is another's: a stray hand on our key, or a machine that was cloned.
    if (!hasSameMac(lease, this.#claim.lease)) throw this.#lost(record, 'was taken by')
    return this.#askWriter(record, signal)
  }

  async #askWriter(record: Record, signal: AbortSignal): Promise<Lost | undefined> {
    const answer = await ask(this.#ctx, record.kv, signal)
    if (answer === undefined) return lost
    if (answer.isAlive) throw this.#lost(record, 'was taken by a host with our MAC, whose agent runs:')
    return this.#rewritten({ ...record, kv: { ...record.kv, modRevision: answer.modRevision } })
  }

  /** Another host asked whether we run: see `ask`. */
  async #answer(kv: KeyValue, signal: AbortSignal): Promise<Lost | undefined> {
    const modRevision = kv.leaseId === NO_LEASE ? await touch(this.#ctx, kv, signal) : kv.modRevision
    if (modRevision === undefined) return lost
    this.#claim = { ...this.#claim, kv: { ...kv, modRevision } }
    if (kv.leaseId !== NO_LEASE) this.#renewAt = this.#ctx.tuning.clock.now()
    return undefined
  }

  /** The claim is the cache's. The same key may be another's by now, or the cache a copy of another machine's. */
  async #confirm(record: Record, signal: AbortSignal): Promise<Lost | undefined> {
    const { request } = this.#claim
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
    this.#claim = { ...this.#claim, kv: { ...record.kv, modRevision } }
    this.#renewAt = this.#ctx.tuning.clock.now()
    return undefined
  }

  /** The key was written: by us, unanswered; by an operator who reserves it; by another program on this node; or by another node. */
  #rewritten(record: Record): undefined {
    const { kv, lease } = record
    const { request, kv: before, value } = this.#claim
    this.#claim = { ...this.#claim, kv }
    if (kv.value === value && this.#ctx.grants.grantedAt(kv.leaseId) !== undefined) {
      this.#claim = claimOf(this.#ctx, request, kv)
      this.#renewAt = this.#renewalOf(this.#claim)
      return
    }
    if (isReservation(before, kv, lease) && before.leaseId !== NO_LEASE)
      this.#ctx.log.info({ key: kv.key }, `${kv.key} has become a reservation: it is no longer renewed`)
    else if (before.leaseId === NO_LEASE && kv.value === before.value)
      this.#ctx.log.info({ key: kv.key }, `${kv.key} is no longer a reservation: it is renewed`)
    else this.#rewrites.saw(record)
    if (kv.value === value && kv.leaseId === NO_LEASE) this.#renewAt = Number.POSITIVE_INFINITY
    // Two programs that each put the key right at once would never end.
    else this.#renewAt = Math.max(this.#ctx.tuning.clock.now(), this.#wroteAt + this.#ctx.tuning.checkMs)
  }

  #lost({ kv, lease }: Record, how: string): LeaseLostError {
    const who = lease ? describeLease(lease) : 'a value that is no lease'
    const text = `Our subnet ${printLease(this.#claim.lease)} ${how} ${who}`
    return new LeaseLostError(
      `${text}; what is programmed stays, delete ${kv.key} if that host is wrong`,
      lease,
    )
  }

  async #write({ kv, lease }: Record, signal: AbortSignal): Promise<Claim | Lost> {
    const { request, value, kv: seen } = this.#claim
    const before = this.#ctx.recall.own
    const isReserved = isReservation(before, kv, lease)
    const claim = await rewrite(this.#ctx, request, seen, value, isReserved, signal)
    if (claim === lost) return lost
    this.#wrote(claim)
    this.#ctx.log.debug({ key: kv.key, leaseId: claim.kv.leaseId }, `Renewed the lease ${kv.key}`)
    return claim
  }

  /** The key is gone: it ran out while we could not renew it, or was deleted. The same subnet is ours again if it is free. */
  async #reclaim(signal: AbortSignal): Promise<Claim | Lost> {
    const { request, lease, kv, value } = this.#claim
    const prefixes = lease.subnets.map(subnet => subnet.prefix)
    const listing = await this.#ctx.client.range(keysUnder(this.#ctx.folder), signal)
    const records = readRecords(this.#ctx.folder, listing.kvs)
    const owner = olderOwner(request.network, records, prefixes, kv.key, Number.POSITIVE_INFINITY)
    if (owner)
      throw new LeaseLostError(
        `Our subnet ${printLease(lease)} was gone and then taken under ${owner.kv.key}` +
          (owner.lease ? ` by ${printLease(owner.lease)}` : ''),
        owner.lease,
      )
    if (!fits(request.network, prefixes))
      throw new LeaseLostError(`Our subnet ${printLease(lease)} is gone`, undefined)
    const claim = await create(this.#ctx, request, prefixes, value, listing.revision, signal)
    if (claim === lost) return lost
    this.#wrote(claim)
    this.#ctx.log.warn({ key: kv.key }, `Our lease ${kv.key} was gone and free: claimed it again`)
    return claim
  }

  #wrote(claim: Claim): void {
    this.#wroteAt = this.#ctx.tuning.clock.now()
    this.#renewAt = this.#renewalOf(claim)
  }

  /** Never for a reservation; at once for an etcd lease that we know nothing about. */
  #renewalOf(claim: Claim): number {
    if (claim.kv.leaseId === NO_LEASE) return Number.POSITIVE_INFINITY
    if (claim.grantedAt === undefined) return this.#ctx.tuning.clock.now()
    const ttlMs = this.#ctx.tuning.ttlSeconds * 1000
    return claim.grantedAt + Math.max(ttlMs - this.#marginMs, ttlMs / 3)
  }

  /** From now on each time: whatever was before is read by the look that it wakes. */
  async #watchKey(signal: AbortSignal): Promise<never> {
    const { clock, lastRetryMs } = this.#ctx.tuning
    for (let attempt = 0; ; attempt++) {
      const startedAt = clock.now()
      try {
        for await (const batch of this.#ctx.client.watch(oneKey(this.#claim.kv.key), 0, signal)) {
          if (batch.through === 0) this.#ctx.patience.over(WATCHING)
          this.#due.set()
        }
      } catch (error) {
        this.#ctx.patience.failed(WATCHING, error, signal)
      }
      if (clock.now() - startedAt > lastRetryMs) attempt = 0
      await this.#ctx.patience.pause(attempt, signal)
    }
  }
}
