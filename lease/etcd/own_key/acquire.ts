import { chooseSubnets, fits } from '../../allocate.ts'
import { type Lease, printLease } from '../../lease.ts'
import { ipFromNumber, ipToNumber } from '../../net/ip.ts'
import { networkAddress, type Prefix, prefixLength, prefixOf } from '../../net/prefix.ts'
import {
  type FamilyNetwork,
  type NetworkConfig,
  networkFor,
  subnetSize,
} from '../../network_config/network_config.ts'
import { LeaseRefusedError, type LeaseRequest } from '../../store.ts'
import { decodeLease } from '../../wire.ts'
import type { KeyValue } from '../client/keys.ts'
import type { EtcdContext } from '../records/context.ts'
import { checkOwn } from '../records/history.ts'
import {
  isReservation,
  listRecords,
  olderOwner,
  type Record,
  readRecord,
  taken,
  valueFor,
} from '../records/record.ts'
import { TableListing } from '../records/table_listing.ts'
import { ask, writeOf } from './ask.ts'
import { type Claim, create, type Lost, lost, remove, rewrite } from './claim.ts'
import { describeLease } from './describe.ts'
import { type Candidate, candidate, candidates, wasOwn } from './identity.ts'

const ACTIVITY = 'claim a subnet'

/**
 * Claims a subnet: the one that this node holds, else one of an earlier process, else a free one. Reads again
 * where another node was faster. While none is free it keeps looking: a lease may expire at any time.
 */
export async function acquire(
  ctx: EtcdContext,
  request: LeaseRequest,
  onListing: (listing: TableListing) => void,
  signal: AbortSignal,
): Promise<Claim> {
  // With a network config from the cache, etcd is away: do not wait for another call's deadline.
  const cached = ctx.lastSeen.unconfirmedConfig === undefined ? undefined : cachedClaim(ctx, request)
  if (cached) return cached
  const search = new Search(ctx, request, onListing)
  const attempt = () => search.attempt(signal)
  for (let races = 0; ; races++) {
    try {
      const claim = await ctx.retrier.untilOr(ACTIVITY, attempt, () => cachedClaim(ctx, request), signal)
      if (claim !== lost) return claim
      await ctx.retrier.pause(races - 4, signal)
    } catch (error) {
      if (!(error instanceof LeaseRefusedError)) throw error
      ctx.retrier.note(ACTIVITY, `${error.message}; still waiting for one`)
      await ctx.retrier.rest(ctx.tuning.refusedRetryMs, signal)
    }
  }
}

/** The claim with the data to publish now. The keeper writes them, as it repairs any other difference. */
export function republish(ctx: EtcdContext, request: LeaseRequest, kv: KeyValue, previous: Lease): Claim {
  const value = valueFor(request, previous)
  const lease = decodeLease(previous.node, value, kv.createRevision)
  return { request, lease, value, kv, grantedAt: ctx.grants.grantedAt(kv.leaseId), confirmed: false }
}

/** The claim in the cache; `keep` finds out whether etcd still has it. */
function cachedClaim(ctx: EtcdContext, request: LeaseRequest): Claim | undefined {
  const { own, savedAtMs } = ctx.lastSeen
  const record = own && savedAtMs !== undefined ? readRecord(ctx.folder, own) : undefined
  if (!record?.lease || !fits(request.network, record.prefixes)) return undefined
  const claim = republish(ctx, request, record.kv, record.lease)
  ctx.log.info(
    { key: record.kv.key },
    `etcd has not answered yet: continuing with our last lease ${printLease(claim.lease)}`,
  )
  return claim
}

class Search {
  readonly #ctx: EtcdContext
  readonly #request: LeaseRequest
  /** Called with the listing of all subnet keys that our subnet was chosen from. */
  readonly #onListing: (listing: TableListing) => void
  /** To try first. After a write without an answer the same one, else this node could hold two subnets. */
  #preferred: readonly Prefix[]
  readonly #left = new Set<string>()
  /** Keys that this attempt has removed. */
  readonly #removed = new Set<string>()
  /** Keys whose writer was asked: its write (see `writeOf`) where it did not answer, false where it did. */
  readonly #asked = new Map<string, string | false>()

  constructor(ctx: EtcdContext, request: LeaseRequest, onListing: (listing: TableListing) => void) {
    this.#ctx = ctx
    this.#request = request
    this.#onListing = onListing
    const own = ctx.lastSeen.own && readRecord(ctx.folder, ctx.lastSeen.own)
    this.#preferred = [...(own?.prefixes ?? []), ...request.previousSubnets]
  }

  async attempt(signal: AbortSignal): Promise<Claim | Lost> {
    const couldBeOwn = (record: Record) => candidate(this.#ctx, this.#request, record) !== undefined
    const table = new TableListing(this.#ctx, this.#request.network)
    const { records, revision } = await listRecords(this.#ctx, couldBeOwn, signal, table)
    this.#removed.clear()
    for (const { kv } of records) checkOwn(this.#ctx, kv)
    const own = candidates(this.#ctx, this.#request, records).filter(
      ({ record }) => this.#asked.get(record.kv.key) !== false,
    )
    const [held, ...surplus] = own.filter(({ record }) => this.#unfit(record, records) === undefined)
    const record = held && this.#mustAsk(held) ? await this.#ask(held.record, signal) : held?.record
    if (record === lost) return lost
    const claim = record
      ? await this.#takeUp(record, signal)
      : await this.#claimNew(records, own, revision, signal)
    if (claim === lost) return lost
    for (const one of surplus) await this.#release(one, 'this node holds another', signal)
    this.#onListing(table.after(revision, this.#removed, claim.kv))
    return claim
  }

  #mustAsk({ isDoubtful, record }: Candidate): boolean {
    return isDoubtful && this.#asked.get(record.kv.key) !== writeOf(record.kv)
  }

  /** Resolves to the record at its newest revision where its writer did not answer. */
  async #ask(record: Record, signal: AbortSignal): Promise<Record | Lost> {
    const { kv, lease } = record
    const answer = await ask(this.#ctx, kv, signal)
    if (answer === undefined) return lost
    this.#asked.set(kv.key, !answer.isAlive && writeOf(kv))
    if (!answer.isAlive) return { ...record, kv: { ...kv, modRevision: answer.modRevision } }
    this.#ctx.log.warn(
      { key: kv.key, value: kv.value },
      `Left ${kv.key} to ${lease ? describeLease(lease) : 'another host'}: its agent runs, so that is another host which has ` +
        'our public IP or a copy of our files; give each host its own (--public-ip, --iface, --cache-file)',
    )
    return lost
  }

  #takeUp({ kv, lease }: Record, signal: AbortSignal): Promise<Claim | Lost> {
    const isReserved = isReservation(this.#ctx.lastSeen.own, kv, lease)
    const cached = this.#ctx.lastSeen.own && readRecord(this.#ctx.folder, this.#ctx.lastSeen.own)?.lease
    const value = valueFor(this.#request, lease ?? cached)
    return rewrite(this.#ctx, this.#request, kv, value, isReserved, signal)
  }

  #unfit({ prefixes, kv }: Record, records: readonly Record[]): string | undefined {
    const { network } = this.#request
    if (!fits(network, prefixes)) return 'it does not fit the network config'
    const older = olderOwner(network, records, prefixes, kv.key, kv.createRevision)
    return older && `${older.kv.key} is older and overlaps it`
  }

  async #claimNew(
    records: readonly Record[],
    unfit: readonly Candidate[],
    revision: number,
    signal: AbortSignal,
  ): Promise<Claim | Lost> {
    const gone = new Set<Record>()
    for (const one of unfit) {
      const released = await this.#release(one, this.#unfit(one.record, records) ?? '', signal)
      if (released === lost) return lost
      if (released) gone.add(one.record)
    }
    const remaining = records.filter(record => !gone.has(record))
    this.#preferred = this.#choose(remaining, [
      ...this.#preferred,
      ...unfit.flatMap(({ record }) => record.prefixes),
    ])
    const value = valueFor(this.#request, unfit[0]?.record.lease)
    return create(this.#ctx, this.#request, this.#preferred, value, revision, signal)
  }

  /** Avoids subnets of peers kept after a loss of data, who will claim them. Throws LeaseRefusedError. */
  #choose(remaining: readonly Record[], wanted: readonly Prefix[]): readonly Prefix[] {
    const { network } = this.#request
    const { lastSeen, tuning } = this.#ctx
    const returning = lastSeen.gracePeers.leases
      .filter(lease => !wasOwn(this.#ctx, this.#request, lease))
      .flatMap(lease => lease.subnets.map(subnet => subnet.prefix))
    try {
      const remainingPrefixes = remaining.flatMap(record => taken(network, record))
      const all = [...remainingPrefixes, ...returning, ...(this.#request.hostNetworks ?? [])]
      return choose(network, all, wanted, tuning.random)
    } catch (error) {
      const widest = error instanceof LeaseRefusedError && widestTaker(network, remaining)
      throw widest ? new LeaseRefusedError(`${error.message}; the widest of them is ${widest}`) : error
    }
  }

  /** True where the key was removed, `lost` where it changed; leaves reservations and others' writes. */
  async #release(
    { record, isRemovable }: Candidate,
    reason: string,
    signal: AbortSignal,
  ): Promise<boolean | Lost> {
    const { kv, lease } = record
    const isReserved = isReservation(this.#ctx.lastSeen.own, kv, lease)
    if (isReserved || !isRemovable) {
      const what = isReserved ? 'the reservation' : 'the lease'
      if (!this.#left.has(kv.key))
        this.#ctx.log.warn({ key: kv.key }, `Left ${what} ${kv.key} unused: ${reason}`)
      this.#left.add(kv.key)
      return false
    }
    if (!(await remove(this.#ctx, kv, signal))) return lost
    this.#removed.add(kv.key)
    this.#ctx.log.warn({ key: kv.key }, `Released our lease ${kv.key}: ${reason}`)
    return true
  }
}

function widestTaker(network: NetworkConfig, records: readonly Record[]): string | undefined {
  const spare = (prefix: Prefix) => {
    const family = networkFor(network, prefix)
    return family ? family.subnetLength - prefixLength(prefix) : 0
  }
  const width = (record: Record) => Math.max(0, ...taken(network, record).map(spare))
  const [widest] = records.toSorted((a, b) => width(b) - width(a))
  if (widest === undefined || width(widest) === 0) return undefined
  return `${widest.kv.key}, ${widest.lease ? `of ${printLease(widest.lease)}` : 'which is no lease'}`
}

/**
 * Prefers the second family's subnet with the first one's number: the key starts with the first family, so
 * nodes that start at once then differ in both.
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
  const number = (ipToNumber(networkAddress(lead)) - ipToNumber(first.subnetMin)) / subnetSize(first)
  const aligned = network.families.map(family => nth(family, number))
  return chooseSubnets(network, taken, [lead, ...wanted, ...aligned.filter(p => p !== undefined)], random)
}

function nth(family: FamilyNetwork, number: bigint): Prefix | undefined {
  const address = ipToNumber(family.subnetMin) + number * subnetSize(family)
  if (address > ipToNumber(family.subnetMax)) return undefined
  return prefixOf(ipFromNumber(address, family.family), family.subnetLength)
}
