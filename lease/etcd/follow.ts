import type { LiveTable, Reading } from '../table.ts'
import { decodeLease, WireError } from '../wire.ts'
import type { EtcdContext } from './context.ts'
import { EtcdError } from './error.ts'
import { type Head, type KeyValue, keysUnder } from './keys.ts'

const ACTIVITY = 'watch the peers'

/**
 * Keeps a table true to what stands under `<prefix>/subnets/`: lists at revision R, watches from R+1. A watch that breaks is
 * resumed behind the last event that came (5,000 nodes that all list after a restart of etcd would keep it down), and the
 * table is listed anew a little later; at once where the revision is compacted or the store is not the same any more.
 */
export class Follower {
  readonly #ctx: EtcdContext
  readonly #table: LiveTable
  /** The store and the revision up to which the table is true; undefined: to be listed. */
  #at: Head | undefined
  #relistAt = 0

  constructor(ctx: EtcdContext, table: LiveTable) {
    this.#ctx = ctx
    this.#table = table
  }

  /** Goes on until the signal aborts, and rejects with its reason. */
  async run(signal: AbortSignal): Promise<never> {
    const { clock, lastRetryMs, relistAfterBreakMs, random } = this.#ctx.tuning
    for (let attempt = 0; ; attempt++) {
      const startedAt = clock.now()
      try {
        await this.#listAndWatch(signal)
      } catch (error) {
        this.#broken(error, signal)
        this.#relistAt = Math.min(this.#relistAt, clock.now() + random() * relistAfterBreakMs)
        if (clock.now() - startedAt > lastRetryMs) attempt = 0
        await this.#ctx.patience.pause(attempt, signal)
      }
    }
  }

  /** A compacted revision is nothing to worry about: the table is listed again. */
  #broken(error: unknown, signal: AbortSignal): void {
    if (error instanceof EtcdError && error.kind === 'compacted') {
      this.#at = undefined
      this.#ctx.log.info(
        { reason: error.message },
        'Listing the peers again: the watch was behind a compaction',
      )
      return
    }
    this.#ctx.patience.met(ACTIVITY, error, signal)
  }

  async #listAndWatch(signal: AbortSignal): Promise<void> {
    const { clock, relistMs, random } = this.#ctx.tuning
    const at = this.#at ?? (await this.#list(signal))
    if (this.#relistAt <= clock.now()) this.#relistAt = clock.now() + relistMs * (1 - random() / 2)
    const stop = new AbortController()
    const abort = () => stop.abort(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    const relist = new Error('time to list again')
    const timer = setTimeout(() => stop.abort(relist), this.#relistAt - clock.now())
    try {
      await this.#watch(at, stop.signal)
    } catch (error) {
      if (error !== relist) throw error
      this.#at = undefined
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
    }
  }

  async #list(signal: AbortSignal): Promise<Head> {
    const listing = await this.#ctx.client.range(keysUnder(this.#ctx.folder), signal)
    this.#ctx.patience.over(ACTIVITY)
    this.#table.list(listing.kvs.map(kv => this.#read(kv)))
    this.#at = { clusterId: listing.clusterId, revision: listing.revision }
    this.#relistAt = 0
    return this.#at
  }

  async #watch(at: Head, signal: AbortSignal): Promise<void> {
    for await (const batch of this.#ctx.client.watch(keysUnder(this.#ctx.folder), at.revision + 1, signal)) {
      this.#ctx.patience.over(ACTIVITY)
      if (batch.clusterId !== at.clusterId || batch.revision < (this.#at?.revision ?? 0)) {
        this.#at = undefined
        return
      }
      for (const kv of batch.puts) this.#table.put(this.#read(kv))
      for (const key of batch.deletes) this.#table.remove(key.slice(this.#ctx.folder.length))
      if (batch.through > 0) this.#at = { clusterId: at.clusterId, revision: batch.through }
    }
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
