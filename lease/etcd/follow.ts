import type { Lease } from '../lease.ts'
import type { LiveTable, Reading } from '../table.ts'
import { decodeLease, WireError } from '../wire.ts'
import type { EtcdContext } from './context.ts'
import { EtcdError } from './error.ts'
import { checkHistory, contradicts, latest } from './history.ts'
import { type KeyValue, keysUnder, type WatchBatch } from './keys.ts'

const ACTIVITY = 'watch the peers'

/**
 * Keeps a table true to what stands under `<prefix>/subnets/`: lists at revision R, watches from R+1. A watch that breaks is
 * resumed behind the last event that came (5,000 nodes that all list after a restart of etcd would keep it down), and the
 * table is listed anew a little later; at once where the revision is compacted or the store has lost its data.
 */
export class Follower {
  readonly #ctx: EtcdContext
  readonly #table: LiveTable
  /** The revision up to which the table is true; undefined: to be listed. */
  #revision: number | undefined
  /** Whether the watch broke since the table was listed. */
  #broke = false
  /** The key that was written last, of those that the table was read from. */
  #witness: KeyValue | undefined
  #interrupt: () => void = () => {}

  constructor(ctx: EtcdContext, table: LiveTable) {
    this.#ctx = ctx
    this.#table = table
  }

  /** Goes on until the signal aborts, and rejects with its reason. */
  async run(signal: AbortSignal): Promise<never> {
    const { clock, lastRetryMs } = this.#ctx.tuning
    const isAway = this.#ctx.patience.awayTest()
    const onReset = () => this.#listAgain()
    this.#ctx.onReset.add(onReset)
    if (this.#ctx.recall.unconfirmedConfig !== undefined) this.#listCached()
    try {
      for (let attempt = 0; ; attempt++) {
        const startedAt = clock.now()
        try {
          await this.#listAndWatch(signal)
        } catch (error) {
          this.#meet(error, signal)
          if (isAway()) this.#listCached()
        }
        if (clock.now() - startedAt > lastRetryMs) attempt = 0
        await this.#ctx.patience.pause(attempt, signal)
      }
    } finally {
      this.#ctx.onReset.delete(onReset)
    }
  }

  #listAgain(): void {
    this.#revision = undefined
    this.#interrupt()
  }

  /** A compacted revision is nothing to worry about: the table is listed again. */
  #meet(error: unknown, signal: AbortSignal): void {
    this.#broke = true
    if (error instanceof EtcdError && error.kind === 'compacted') {
      this.#revision = undefined
      this.#ctx.log.info(
        { reason: error.message },
        'Listing the peers again: the watch was behind a compaction',
      )
    } else this.#ctx.patience.failed(ACTIVITY, error, signal)
  }

  /** Ends normally when it is time to list again. */
  async #listAndWatch(signal: AbortSignal): Promise<void> {
    // Where the store has lost its data, this is what shows it: a watch from a revision to come is merely silent.
    const range = keysUnder(this.#ctx.folder)
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
        this.#ctx.patience.over(ACTIVITY)
        this.#apply(batch)
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
    const end = this.#ctx.recall.remembered.firstEnd
    return end === undefined ? regular : Math.min(regular, Math.max(0, end - clock.now()))
  }

  async #list(signal: AbortSignal): Promise<number> {
    const { recall, tuning, client, folder } = this.#ctx
    const { revision: before = 0 } = recall.at ?? {}
    const known = new Map(recall.leases.map(lease => [lease.node, lease]))
    const listing = await client.range(keysUnder(folder), signal)
    this.#ctx.patience.over(ACTIVITY)
    const readings = listing.kvs.map(kv => this.#read(kv))
    const isOther = listing.kvs.some(
      (kv, i) => isLease(readings[i]) && contradicts(known, before, kv, kv.key.slice(folder.length)),
    )
    // Where that was found already, there is nothing left that is known.
    if (isOther && recall.at !== undefined) client.foundOtherHistory()
    recall.remembered.settle(readings.filter(isLease), tuning.clock.now())
    for (const reading of readings) this.#ctx.onReading(reading)
    this.#table.list([...readings, ...recall.remembered.leases])
    this.#broke = false
    this.#witness = latest(undefined, listing.kvs)
    this.#saw(listing.revision)
    return listing.revision
  }

  #apply(batch: WatchBatch): void {
    const { clusterId } = this.#ctx.client.known ?? batch
    if (batch.clusterId !== clusterId)
      throw new EtcdError('trouble', this.#ctx.client.endpoint, `its cluster is ${batch.clusterId} now`)
    if (batch.through === 0) return
    const readings = batch.puts.map(kv => this.#read(kv))
    const { recall, tuning } = this.#ctx
    for (const reading of readings) {
      this.#table.put(reading)
      this.#ctx.onReading(reading)
    }
    for (const key of batch.deletes) {
      const node = key.slice(this.#ctx.folder.length)
      this.#table.remove(node)
      this.#ctx.onGone(node)
    }
    const outlived = recall.remembered.settle(readings.filter(isLease), tuning.clock.now())
    for (const node of outlived) this.#table.remove(node)
    this.#witness = latest(this.#witness, batch.puts)
    this.#saw(batch.through)
  }

  #saw(revision: number): void {
    this.#revision = revision
    const at = this.#ctx.client.known
    if (at) this.#ctx.recall.sawTable({ ...at, revision }, () => [...this.#table.table.values()])
  }

  /** Only as long as nothing better is known. */
  #listCached(): void {
    const { recall } = this.#ctx
    if (recall.savedAtMs === undefined || this.#revision !== undefined || this.#table.table.size > 0) return
    if (recall.leases.length > 0) this.#table.list(recall.leases)
  }

  #read(kv: KeyValue): Reading {
    const key = kv.key.slice(this.#ctx.folder.length)
    try {
      return decodeLease(key, kv.value, kv.createRevision)
    } catch (error) {
      if (error instanceof WireError) return { key, reason: error.message }
      throw error
    }
  }
}

function isLease(reading: Reading | undefined): reading is Lease {
  return reading !== undefined && 'node' in reading
}
