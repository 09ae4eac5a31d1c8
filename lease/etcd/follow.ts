import { Slices } from '../common/slices.ts'
import type { Lease } from '../lease.ts'
import { isOfNetwork, type LiveTable } from '../table.ts'
import { EtcdError } from './client/error.ts'
import { type KeyValue, keysUnder, type WatchBatch } from './client/keys.ts'
import type { EtcdContext } from './records/context.ts'
import { checkHistory, latest } from './records/history.ts'
import { readKey, TableListing } from './records/table_listing.ts'

const ACTIVITY = 'watch the peers'

/**
 * Keeps the table equal to the keys under `<prefix>/subnets/`: lists at revision R, watches from R+1. Resumes
 * a broken watch, because 5,000 nodes that list at once would overload etcd, and lists a little later; at
 * once where the revision is compacted or the store has lost its data.
 */
export class Follower {
  readonly #ctx: EtcdContext
  readonly #table: LiveTable
  /** The revision up to which the table is complete; undefined: it must be listed. */
  #revision: number | undefined
  #broke = false
  /** The newest key in the table. It shows later whether etcd still has the same history. */
  #witness: KeyValue | undefined
  #interrupt: () => void = () => {}
  /** A listing to begin with, from before. */
  #first: TableListing | undefined
  readonly #slices = new Slices()

  constructor(ctx: EtcdContext, table: LiveTable, first?: TableListing) {
    this.#ctx = ctx
    this.#first = first
    this.#table = table
  }

  /** Runs until the signal aborts, and rejects with its reason. */
  async run(signal: AbortSignal): Promise<never> {
    const { retrier } = this.#ctx
    const isAway = retrier.awayTest()
    const onReset = () => this.#listAgain()
    this.#ctx.onReset.add(onReset)
    if (this.#ctx.lastSeen.unconfirmedConfig !== undefined) this.#listCached()
    const follow = () =>
      this.#listAndWatch(signal).catch(error => {
        this.#watchFailed(error, signal)
        retrier.restarts++
        if (isAway()) this.#listCached()
      })
    try {
      return await retrier.forever(ACTIVITY, follow, signal)
    } finally {
      this.#ctx.onReset.delete(onReset)
    }
  }

  #listAgain(): void {
    this.#first = undefined
    this.#revision = undefined
    this.#interrupt()
  }

  /** Handles the end of a watch. A compacted revision is no trouble: the table is listed again. */
  #watchFailed(error: unknown, signal: AbortSignal): void {
    this.#broke = true
    if (error instanceof EtcdError && error.kind === 'compacted') {
      this.#revision = undefined
      const text = 'Listing the peers again: the watch was behind a compaction'
      this.#ctx.log.info({ reason: error.message }, text)
    } else this.#ctx.retrier.failed(ACTIVITY, error, signal)
  }

  async #listAndWatch(signal: AbortSignal): Promise<void> {
    const range = keysUnder(this.#ctx.folder)
    // A watch from a future revision is only silent: checkHistory finds out whether the store has lost its
    // data.
    if (this.#revision !== undefined)
      await checkHistory(this.#ctx.client, this.#ctx.folder, this.#witness, signal)
    const revision = this.#revision ?? (await this.#list(signal))
    const stop = new AbortController()
    const all = AbortSignal.any([signal, stop.signal])
    const relist = new Error('time to list again')
    this.#interrupt = () => stop.abort(relist)
    let timer: NodeJS.Timeout | undefined
    try {
      for await (const batch of this.#ctx.client.watch(range, revision + 1, all)) {
        timer ??= setTimeout(() => this.#listAgain(), this.#untilRelist())
        this.#ctx.retrier.over(ACTIVITY)
        await this.#apply(batch, all)
      }
    } catch (error) {
      if (error !== relist) throw error
    } finally {
      clearTimeout(timer)
      this.#interrupt = () => {}
    }
  }

  #untilRelist(): number {
    const { clock, relistMs, relistAfterBreakMs, random } = this.#ctx.tuning
    const regular = this.#broke ? random() * relistAfterBreakMs : relistMs * (1 - random() / 2)
    const end = this.#ctx.lastSeen.gracePeers.firstEnd
    return end === undefined ? regular : Math.min(regular, Math.max(0, end - clock.now()))
  }

  async #list(signal: AbortSignal): Promise<number> {
    const { lastSeen, tuning, client } = this.#ctx
    const listing = this.#first ?? (await this.#readAll(signal))
    this.#first = undefined
    const { leases, refused, isOther, witness, revision } = listing
    this.#ctx.retrier.over(ACTIVITY)
    // After a known loss of data `lastSeen.at` is undefined: there is no history to compare with.
    if (isOther && lastSeen.at !== undefined) client.foundOtherHistory()
    lastSeen.gracePeers.settle(leases, tuning.clock.now())
    for (const lease of leases) this.#ctx.onLease(lease)
    this.#table.list([...refused, ...leases, ...lastSeen.gracePeers.leases])
    this.#broke = false
    this.#witness = witness
    this.#tableIsAt(revision)
    return revision
  }

  async #readAll(signal: AbortSignal): Promise<TableListing> {
    const { client, folder } = this.#ctx
    const listing = new TableListing(this.#ctx, this.#table.network, this.#table.table)
    const { revision } = await client.rangeAs(keysUnder(folder), kv => void listing.read(kv), signal)
    return Object.assign(listing, { revision })
  }

  async #apply(batch: WatchBatch, signal: AbortSignal): Promise<void> {
    const { clusterId } = this.#ctx.client.known ?? batch
    if (batch.clusterId !== clusterId)
      throw new EtcdError('trouble', this.#ctx.client.endpoint, `its cluster is ${batch.clusterId} now`)
    if (batch.through === 0) return
    const { lastSeen, tuning } = this.#ctx
    const leases: Lease[] = []
    for (const kv of batch.puts) {
      await this.#slices.next()
      const reading = readKey(this.#ctx.folder, kv)
      this.#table.put(reading)
      if (!isOfNetwork(this.#table.network, reading)) continue
      this.#ctx.onLease(reading)
      leases.push(reading)
    }
    for (const key of batch.deletes) {
      await this.#slices.next()
      const node = key.slice(this.#ctx.folder.length)
      this.#table.remove(node)
      this.#ctx.onGone(node)
    }
    const outlived = lastSeen.gracePeers.settle(leases, tuning.clock.now())
    for (const node of outlived) this.#table.remove(node)
    // A listing was asked for meanwhile: the batch must not count as seen.
    signal.throwIfAborted()
    this.#witness = latest(this.#witness, batch.puts)
    this.#tableIsAt(batch.through)
  }

  #tableIsAt(revision: number): void {
    this.#revision = revision
    const at = this.#ctx.client.known
    if (at) this.#ctx.lastSeen.sawTable({ ...at, revision }, () => [...this.#table.table.values()])
  }

  #listCached(): void {
    const { lastSeen } = this.#ctx
    if (lastSeen.savedAtMs === undefined || this.#revision !== undefined || this.#table.table.size > 0) return
    if (lastSeen.leases.length > 0) this.#table.list(lastSeen.leases)
  }
}
