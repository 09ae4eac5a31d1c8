import { chooseSubnets, fits } from '../allocate.ts'
import { type Lease, printLease } from '../lease.ts'
import { familyBits, ipFromNumber, ipToNumber } from '../net/ip.ts'
import { networkAddress, type Prefix, prefixOf } from '../net/prefix.ts'
import type { FamilyNetwork, NetworkConfig } from '../network_config.ts'
import { LeaseRefusedError, type LeaseRequest } from '../store.ts'
import { decodeLease } from '../wire.ts'
import { type Claim, create, type Grants, type Lost, lost, ownRecords, remove, rewrite } from './claim.ts'
import type { EtcdContext } from './context.ts'
import { keysUnder } from './keys.ts'
import { isHeldBy, NO_LEASE, olderOwner, type Record, readRecord, readRecords, valueFor } from './record.ts'

const ACTIVITY = 'claim a subnet'

/**
 * Claims a subnet: the one that stands under our public IP, else one of an earlier life, else a free one. Losing a race is
 * normal and leads to a fresh read. Where no subnet is free it goes on looking, since a node's lease may run out any time.
 */
export async function acquire(
  ctx: EtcdContext,
  grants: Grants,
  request: LeaseRequest,
  signal: AbortSignal,
): Promise<Claim> {
  // Where the network config had to come from the cache a moment ago, another call need not run into its deadline.
  const cached = ctx.recall.unconfirmedConfig === undefined ? undefined : cachedClaim(ctx, request)
  if (cached) return cached
  const search = new Search(ctx, grants, request)
  for (let races = 0; ; races++) {
    try {
      const claim = await ctx.patience.untilOr(
        ACTIVITY,
        () => search.attempt(signal),
        () => cachedClaim(ctx, request),
        signal,
      )
      if (claim !== lost) return claim
      await ctx.patience.pause(races - 4, signal)
    } catch (error) {
      if (!(error instanceof LeaseRefusedError)) throw error
      ctx.patience.note(ACTIVITY, `${error.message}; still waiting for one`)
      await ctx.patience.rest(ctx.tuning.refusedRetryMs, signal)
    }
  }
}

/** What we held when we were last seen; whether it is ours still, `keep` finds out. */
function cachedClaim(ctx: EtcdContext, request: LeaseRequest): Claim | undefined {
  const { own, savedAtMs } = ctx.recall
  const record = own && savedAtMs !== undefined ? readRecord(ctx.folder, own) : undefined
  if (!record?.lease || !isHeldBy(record.lease, request.publicIps)) return undefined
  if (!fits(request.network, record.prefixes)) return undefined
  const value = valueFor(request, record.lease)
  const { kv } = record
  const lease = decodeLease(record.lease.node, value, kv.createRevision)
  ctx.log.warn({ key: kv.key }, `etcd is away: going on with our last lease ${printLease(lease)}`)
  return { request, lease, kv: { ...kv, value }, grantedAt: undefined, confirmed: false }
}

class Search {
  readonly #ctx: EtcdContext
  readonly #grants: Grants
  readonly #request: LeaseRequest
  /**
   * Tried first. After a write that was not answered it must be the same subnet again: that write may still arrive, and
   * with another subnet this node would hold two.
   */
  #preferred: readonly Prefix[]

  constructor(ctx: EtcdContext, grants: Grants, request: LeaseRequest) {
    this.#ctx = ctx
    this.#grants = grants
    this.#request = request
    const own = ctx.recall.own && readRecord(ctx.folder, ctx.recall.own)
    const cached = own && isHeldBy(own.lease, request.publicIps) ? own.prefixes : []
    this.#preferred = [...request.previousSubnets, ...cached]
  }

  async attempt(signal: AbortSignal): Promise<Claim | Lost> {
    const { folder, client } = this.#ctx
    const listing = await client.range(keysUnder(folder), signal)
    const records = readRecords(folder, listing.kvs)
    const [own, ...surplus] = this.#usable(records)
    const claim = own
      ? await rewrite(
          this.#ctx,
          this.#grants,
          this.#request,
          own.kv,
          valueFor(this.#request, own.lease),
          signal,
        )
      : await this.#claimNew(records, listing.revision, signal)
    if (claim === lost) return lost
    for (const record of surplus) await this.#release(record, 'this node holds another', signal)
    return claim
  }

  #usable(records: readonly Record[]): readonly Record[] {
    return ownRecords(records, this.#grants, this.#request).filter(
      record => this.#unfit(record, records) === undefined,
    )
  }

  /** Why our own lease cannot be kept; undefined where it can. */
  #unfit({ prefixes, kv }: Record, records: readonly Record[]): string | undefined {
    if (!fits(this.#request.network, prefixes)) return 'it does not fit the network config'
    const older = olderOwner(records, prefixes, kv.key, kv.createRevision)
    return older && `${older.kv.key} is older and overlaps it`
  }

  async #claimNew(records: readonly Record[], revision: number, signal: AbortSignal): Promise<Claim | Lost> {
    const unfit = ownRecords(records, this.#grants, this.#request)
    for (const record of unfit)
      if (!(await this.#release(record, this.#unfit(record, records) ?? '', signal))) return lost
    const gone = new Set(unfit.filter(record => record.kv.leaseId !== NO_LEASE))
    const standing = records.filter(record => !gone.has(record)).flatMap(record => record.prefixes)
    // Peers of a store that lost its data are about to claim theirs again.
    const returning = this.#ctx.recall.remembered.leases
      .filter(lease => !isHeldBy(lease, this.#request.publicIps))
      .flatMap(lease => lease.subnets.map(subnet => subnet.prefix))
    const taken = [...standing, ...returning, ...(this.#request.hostNetworks ?? [])]
    const wanted = [...this.#preferred, ...unfit.flatMap(record => record.prefixes)]
    this.#preferred = choose(this.#request.network, taken, wanted, this.#ctx.tuning.random)
    const previous: Lease | undefined = unfit[0]?.lease
    const value = valueFor(this.#request, previous)
    return create(this.#ctx, this.#grants, this.#request, this.#preferred, value, revision, signal)
  }

  /** False where the key changed meanwhile. A reservation is the operator's and stays. */
  async #release({ kv }: Record, reason: string, signal: AbortSignal): Promise<boolean> {
    if (kv.leaseId === NO_LEASE) {
      this.#ctx.log.warn({ key: kv.key }, `Left the reservation ${kv.key} unused: ${reason}`)
      return true
    }
    const removed = await remove(this.#ctx, kv, signal)
    if (removed) this.#ctx.log.info({ key: kv.key }, `Released our lease ${kv.key}: ${reason}`)
    return removed
  }
}

/**
 * In a network of two families the second subnet is the one with the first's number, where that is free: two nodes that
 * start at once are kept apart by the key, which begins with the first family.
 */
function choose(
  network: NetworkConfig,
  taken: readonly Prefix[],
  wanted: readonly Prefix[],
  random: () => number,
): readonly Prefix[] {
  const chosen = chooseSubnets(network, taken, wanted, random)
  const [first] = network.families
  const [lead] = chosen
  if (!first || lead === undefined || network.families.length === 1) return chosen
  const number = (ipToNumber(networkAddress(lead)) - ipToNumber(first.subnetMin)) / sizeOf(first)
  const aligned = network.families.map(family => nth(family, number))
  return chooseSubnets(network, taken, [lead, ...wanted, ...aligned.filter(p => p !== undefined)], random)
}

function nth(family: FamilyNetwork, number: bigint): Prefix | undefined {
  const address = ipToNumber(family.subnetMin) + number * sizeOf(family)
  if (address > ipToNumber(family.subnetMax)) return undefined
  return prefixOf(ipFromNumber(address, family.family), family.subnetLength)
}

function sizeOf(family: FamilyNetwork): bigint {
  return 1n << BigInt(familyBits(family.family) - family.subnetLength)
}
