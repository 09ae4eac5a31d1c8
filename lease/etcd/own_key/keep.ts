import { fits } from '../../allocate.ts'
import { runTogether } from '../../common/tasks.ts'
import { WakeUp } from '../../common/wake_up.ts'
import { printLease } from '../../lease.ts'
import { LeaseLostError } from '../../store.ts'
import { oneKey } from '../client/keys.ts'
import type { EtcdContext } from '../records/context.ts'
import { checkOwn } from '../records/history.ts'
import {
  isReservation,
  listRecords,
  NO_LEASE,
  olderOwner,
  type Record,
  readRecord,
} from '../records/record.ts'
import { type Claim, create, type Lost, lost, rewrite } from './claim.ts'
import type { HeldClaim } from './held_claim.ts'
import { Namesakes } from './namesakes.ts'

const ACTIVITY = 'keep the lease'
const WATCHING = 'watch the lease'

/**
 * Keeps one claim by one action: read our key and repair it. A watch, the time of renewal and a slow timer
 * only trigger it, so a lost or repeated event changes nothing.
 */
export class Keeper {
  readonly #ctx: EtcdContext
  readonly #held: HeldClaim
  readonly #onKept: () => void
  readonly #due = new WakeUp()
  #end: NodeJS.Timeout | undefined

  constructor(ctx: EtcdContext, held: HeldClaim, onKept: () => void) {
    this.#ctx = ctx
    this.#held = held
    this.#onKept = onKept
  }

  /** Resolves when the signal aborts, rejects with LeaseLostError. */
  async run(signal: AbortSignal): Promise<void> {
    const { onReset } = this.#ctx
    const look = () => this.#due.set()
    const { publicIps } = this.#held.claim.request
    const namesakes = new Namesakes(this.#ctx, () => this.#held.claim.lease, publicIps)
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
      this.#held.over()
    }
  }

  async #loop(signal: AbortSignal): Promise<never> {
    for (let races = 0; ; ) {
      const result = await this.#ctx.retrier.until(ACTIVITY, () => this.#makeRight(signal), signal)
      if (result === lost) {
        await this.#ctx.retrier.pause(races++, signal)
        continue
      }
      races = 0
      this.#settle(result)
      await this.#due.wait(this.#untilNextLook(), signal)
    }
  }

  #settle(claim: Claim): void {
    const isAsPublished = this.#held.confirm(claim)
    this.#guardEnd(claim)
    if (!isAsPublished) return
    this.#ctx.lastSeen.sawOwn(claim.kv)
    this.#onKept()
  }

  /** The kernel keeps forwarding, and etcd will tell whether the subnet is still ours: only logs. */
  #guardEnd({ kv, grantedAt }: Claim): void {
    clearTimeout(this.#end)
    if (kv.leaseId === NO_LEASE || grantedAt === undefined) return
    const { clock, ttlSeconds } = this.#ctx.tuning
    const ms = Math.min(grantedAt + ttlSeconds * 1000 - clock.now(), 2 ** 31 - 1)
    const say = () =>
      this.#ctx.log.error(
        { key: kv.key, trouble: this.#ctx.retrier.trouble },
        `Our lease ${kv.key} has run out, since etcd could not be reached to renew it: another node may be given its subnet`,
      )
    this.#end = setTimeout(say, ms).unref()
  }

  #untilNextLook(): number {
    const { checkMs, clock, random } = this.#ctx.tuning
    return Math.max(0, Math.min(checkMs * (1 - random() / 2), this.#held.renewAt - clock.now()))
  }

  async #makeRight(signal: AbortSignal): Promise<Claim | Lost> {
    const listing = await this.#ctx.client.range(oneKey(this.#held.claim.kv.key), signal)
    const [kv] = listing.kvs
    if (kv === undefined) return this.#reclaim(signal)
    checkOwn(this.#ctx, kv)
    const record = readRecord(this.#ctx.folder, kv)
    if (record === undefined) throw new TypeError(`Cannot keep ${kv.key}: it is no subnet key`)
    if ((await this.#held.takeIn(record, signal)) === lost) return lost
    if (this.#ctx.tuning.clock.now() < this.#held.renewAt) return this.#held.claim
    return this.#write(record, signal)
  }

  async #write({ kv, lease }: Record, signal: AbortSignal): Promise<Claim | Lost> {
    const { request, value, kv: seen } = this.#held.claim
    const before = this.#ctx.lastSeen.own
    const isReserved = isReservation(before, kv, lease)
    const claim = await rewrite(this.#ctx, request, seen, value, isReserved, signal)
    if (claim === lost) return lost
    this.#held.wrote(claim)
    this.#ctx.log.debug({ key: kv.key, leaseId: claim.kv.leaseId }, `Renewed the lease ${kv.key}`)
    return claim
  }

  /** The key expired unrenewed, or was deleted. Claims the same subnet again if it is still free. */
  async #reclaim(signal: AbortSignal): Promise<Claim | Lost> {
    const { request, lease, kv, value } = this.#held.claim
    const prefixes = lease.subnets.map(subnet => subnet.prefix)
    const { records, revision } = await listRecords(this.#ctx, () => false, signal)
    const owner = olderOwner(request.network, records, prefixes, kv.key, Number.POSITIVE_INFINITY)
    if (owner)
      throw new LeaseLostError(
        `Our subnet ${printLease(lease)} was gone and then taken under ${owner.kv.key}` +
          (owner.lease ? ` by ${printLease(owner.lease)}` : ''),
        owner.lease,
      )
    if (!fits(request.network, prefixes))
      throw new LeaseLostError(`Our subnet ${printLease(lease)} is gone`, undefined)
    const claim = await create(this.#ctx, request, prefixes, value, revision, signal)
    if (claim === lost) return lost
    this.#held.wrote(claim)
    this.#ctx.log.warn({ key: kv.key }, `Our lease ${kv.key} was gone and free: claimed it again`)
    return claim
  }

  /** Wakes the loop at each later change; the first wake-up reads all earlier ones. */
  async #watchKey(signal: AbortSignal): Promise<never> {
    const { client, retrier } = this.#ctx
    const watch = async () => {
      for await (const batch of client.watch(oneKey(this.#held.claim.kv.key), 0, signal)) {
        if (batch.through === 0) retrier.over(WATCHING)
        this.#due.set()
      }
    }
    return await retrier.forever(WATCHING, watch, signal)
  }
}
