import { fits } from '../allocate.ts'
import { WakeUp } from '../common/wake_up.ts'
import { printLease } from '../lease.ts'
import { LeaseLostError } from '../store.ts'
import { type Claim, claimOf, create, type Grants, type Lost, lost, rewrite } from './claim.ts'
import type { EtcdContext } from './context.ts'
import { type KeyValue, keysUnder, oneKey } from './keys.ts'
import { confirmConfig } from './network.ts'
import { isHeldBy, NO_LEASE, olderOwner, readRecord, readRecords } from './record.ts'

const ACTIVITY = 'keep the lease'
const WATCHING = 'watch the lease'

/**
 * Keeps one claim. There is one way to act: read the own key and make it right. A watch on the key, the renewal's time and a
 * slow timer only say that it is time to look, so a lost or doubled event changes nothing.
 */
export class Keeper {
  readonly #ctx: EtcdContext
  readonly #grants: Grants
  readonly #marginMs: number
  #claim: Claim
  #renewAt: number
  #end: NodeJS.Timeout | undefined
  #wroteAt = Number.NEGATIVE_INFINITY

  constructor(ctx: EtcdContext, grants: Grants, claim: Claim, marginMs: number) {
    this.#ctx = ctx
    this.#grants = grants
    this.#marginMs = marginMs
    this.#claim = claim
    this.#renewAt = this.#renewalOf(claim)
  }

  get claim(): Claim {
    return this.#claim
  }

  /** Resolves when the signal aborts, rejects with LeaseLostError. */
  async run(signal: AbortSignal): Promise<void> {
    const wakeUp = new WakeUp()
    const stop = new AbortController()
    const all = AbortSignal.any([signal, stop.signal])
    const watching = this.#watchKey(wakeUp, all)
    const look = () => wakeUp.set()
    this.#ctx.onReset.add(look)
    try {
      const failed = watching.then(() => undefined)
      await Promise.race([failed, this.#loop(wakeUp, all)])
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      this.#ctx.onReset.delete(look)
      clearTimeout(this.#end)
      stop.abort()
      await watching.catch(() => {})
    }
  }

  async #loop(wakeUp: WakeUp, signal: AbortSignal): Promise<void> {
    for (let races = 0; ; ) {
      const result = await this.#ctx.patience.until(ACTIVITY, () => this.#makeRight(signal), signal)
      if (result === lost) {
        await this.#ctx.patience.pause(races++, signal)
        continue
      }
      races = 0
      this.#settle(result)
      await wakeUp.wait(this.#untilNextLook(), signal)
    }
  }

  #settle(claim: Claim): void {
    if (!this.#claim.confirmed)
      this.#ctx.log.info({ key: claim.kv.key }, `etcd confirms our lease ${printLease(claim.lease)}`)
    this.#claim = { ...claim, confirmed: true }
    this.#ctx.recall.sawOwn(claim.kv)
    this.#guardEnd(claim)
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
    await confirmConfig(this.#ctx, signal)
    const listing = await this.#ctx.client.range(oneKey(this.#claim.kv.key), signal)
    const [kv] = listing.kvs
    if (kv === undefined) return this.#reclaim(signal)
    if (kv.modRevision !== this.#claim.kv.modRevision || kv.value !== this.#claim.kv.value)
      this.#rewritten(kv)
    if (this.#ctx.tuning.clock.now() < this.#renewAt) return this.#claim
    return this.#write(kv, signal)
  }

  /** Somebody wrote our key: we in a write that was not answered, another program on this node, or another node. */
  #rewritten(kv: KeyValue): void {
    const { request, lease } = this.#claim
    const record = readRecord(this.#ctx.folder, kv)
    if (record?.lease && !isHeldBy(record.lease, request.publicIps))
      throw new LeaseLostError(
        `Our subnet ${printLease(lease)} was taken by ${printLease(record.lease)}`,
        record.lease,
      )
    const ours = kv.value === this.#claim.kv.value
    if (ours && this.#grants.grantedAt(kv.leaseId) !== undefined) {
      this.#claim = claimOf(this.#ctx, this.#grants, request, kv)
      this.#renewAt = this.#renewalOf(this.#claim)
      return
    }
    if (!this.#claim.confirmed) this.#ctx.log.debug({ key: kv.key }, `${kv.key} is to be written again`)
    else if (kv.leaseId === NO_LEASE && this.#claim.kv.leaseId !== NO_LEASE)
      this.#ctx.log.info({ key: kv.key }, `${kv.key} has become a reservation: it is not renewed any more`)
    else
      this.#ctx.log.warn(
        { key: kv.key, value: kv.value },
        `${kv.key} was rewritten by another program with our public IP`,
      )
    this.#claim = { ...this.#claim, kv: { ...kv, value: this.#claim.kv.value } }
    if (ours && kv.leaseId === NO_LEASE) this.#renewAt = Number.POSITIVE_INFINITY
    // Two programs that each put the key right at once would never end.
    else this.#renewAt = Math.max(this.#ctx.tuning.clock.now(), this.#wroteAt + this.#ctx.tuning.checkMs)
  }

  async #write(kv: KeyValue, signal: AbortSignal): Promise<Claim | Lost> {
    const { request, kv: own } = this.#claim
    const claim = await rewrite(this.#ctx, this.#grants, request, kv, own.value, signal)
    if (claim === lost) return lost
    this.#wrote(claim)
    this.#ctx.log.debug({ key: kv.key, leaseId: claim.kv.leaseId }, `Renewed the lease ${kv.key}`)
    return claim
  }

  /** The key is gone: it ran out while we could not renew it, or was deleted. The same subnet is ours again if it is free. */
  async #reclaim(signal: AbortSignal): Promise<Claim | Lost> {
    const { request, lease, kv } = this.#claim
    const prefixes = lease.subnets.map(subnet => subnet.prefix)
    const listing = await this.#ctx.client.range(keysUnder(this.#ctx.folder), signal)
    const records = readRecords(this.#ctx.folder, listing.kvs)
    const owner = olderOwner(records, prefixes, kv.key, Number.POSITIVE_INFINITY)
    if (owner)
      throw new LeaseLostError(
        `Our subnet ${printLease(lease)} was gone and then taken under ${owner.kv.key}` +
          (owner.lease ? ` by ${printLease(owner.lease)}` : ''),
        owner.lease,
      )
    if (!fits(request.network, prefixes))
      throw new LeaseLostError(`Our subnet ${printLease(lease)} is gone`, undefined)
    const claim = await create(this.#ctx, this.#grants, request, prefixes, kv.value, listing.revision, signal)
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
  async #watchKey(wakeUp: WakeUp, signal: AbortSignal): Promise<void> {
    const { clock, lastRetryMs } = this.#ctx.tuning
    for (let attempt = 0; ; attempt++) {
      const startedAt = clock.now()
      try {
        for await (const batch of this.#ctx.client.watch(oneKey(this.#claim.kv.key), 0, signal)) {
          if (batch.through === 0) this.#ctx.patience.over(WATCHING)
          wakeUp.set()
        }
      } catch (error) {
        this.#ctx.patience.failed(WATCHING, error, signal)
      }
      if (clock.now() - startedAt > lastRetryMs) attempt = 0
      await this.#ctx.patience.pause(attempt, signal)
    }
  }
}
