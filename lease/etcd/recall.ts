import { type CachedLeases, CacheError, readCache, writeCache } from '../cache.ts'
import type { Log } from '../common/log.ts'
import type { Lease } from '../lease.ts'
import type { EtcdOptions } from '../options.ts'
import { normalEndpoint } from './endpoint.ts'
import type { Head, KeyValue } from './keys.ts'
import { Remembered } from './remembered.ts'
import type { EtcdTuning } from './tuning.ts'

/** What an etcd store writes beside the leases. */
interface Notes {
  readonly endpoints: readonly string[]
  readonly at: Head | undefined
  /** Our own key as we wrote it last. */
  readonly own: KeyValue | undefined
  /** Time left in ms of peers that a store without them is outlived by, by name. */
  readonly remembered: Readonly<Record<string, number>>
}

/**
 * What this node knows by itself when etcd says nothing, or knows nothing any more: the last network config, table and own
 * key, kept in a file as well, and the peers that are outliving a loss of etcd's data.
 */
export class Recall {
  readonly remembered = new Remembered()
  readonly #options: EtcdOptions
  readonly #tuning: EtcdTuning
  readonly #log: Log
  readonly #scope: string
  #networkConfig: string | undefined
  #own: KeyValue | undefined
  #at: Head | undefined
  #leases: () => readonly Lease[] = () => []
  /** The network config where it was taken from the cache and etcd's has not been seen since. */
  unconfirmedConfig: string | undefined
  #savedAtMs: number | undefined
  #loaded: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #saving: Promise<void> = Promise.resolve()
  #saidProblem: string | undefined

  constructor(options: EtcdOptions, tuning: EtcdTuning, log: Log) {
    this.#options = options
    this.#tuning = tuning
    this.#log = log
    this.#scope = `etcd ${options.prefix}`
  }

  /** Reads the cache file, if there is one; a file that cannot be used is said once and left out. */
  load(): Promise<void> {
    this.#loaded ??= this.#load()
    return this.#loaded
  }

  async #load(): Promise<void> {
    const file = this.#options.cacheFile
    if (file === undefined) return
    try {
      const cached = await readCache(file, this.#scope)
      if (cached) this.#take(cached)
    } catch (error) {
      if (!(error instanceof CacheError)) throw error
      this.#log.warn({ file }, `${error.message}; starting without it`)
    }
  }

  get networkConfig(): string | undefined {
    return this.#networkConfig
  }

  get own(): KeyValue | undefined {
    return this.#own
  }

  /** The store as it was when the leases were last seen. */
  get at(): Head | undefined {
    return this.#at
  }

  get leases(): readonly Lease[] {
    return this.#leases()
  }

  /** Unix ms of what a file gave; undefined where all is fresh, or nothing known. */
  get savedAtMs(): number | undefined {
    return this.#savedAtMs
  }

  /** Leases of another network are none of ours. */
  sawNetworkConfig(text: string): void {
    if (this.#networkConfig !== undefined && this.#networkConfig !== text) {
      this.#log.info({}, 'The network config is not the one of the lease cache: starting without it')
      this.#own = undefined
      this.#at = undefined
      this.#leases = () => []
    }
    this.#networkConfig = text
    this.#save()
  }

  sawOwn(own: KeyValue): void {
    const isKnown = own.modRevision === this.#own?.modRevision && own.value === this.#own.value
    if (isKnown && own.key === this.#own?.key) return
    this.#own = own
    this.#save()
  }

  /** `leases` is asked for when it is needed. */
  sawTable(at: Head, leases: () => readonly Lease[]): void {
    this.#at = at
    this.#leases = leases
    this.#savedAtMs = undefined
    this.#save()
  }

  /** The store does not know any more what it knew: all leases seen so far are remembered. */
  storeWasReset(): number {
    this.remembered.add(this.leases, this.#tuning.clock.now() + this.#tuning.graceMs)
    this.#at = undefined
    this.#save()
    return this.remembered.leases.length
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    if (this.#timer) {
      clearTimeout(this.#timer)
      this.#write()
    }
    await this.#saving
  }

  #take(cached: CachedLeases): void {
    const notes = cached.notes as Partial<Notes>
    const endpoints = new Set(this.#options.endpoints.map(normalEndpoint))
    const file = this.#options.cacheFile
    if (!(notes.endpoints ?? []).some(endpoint => endpoints.has(endpoint)))
      throw new CacheError(
        `Cannot use the lease cache ${file}: it is of another etcd, ${(notes.endpoints ?? []).join(', ')}`,
      )
    this.#networkConfig = cached.networkConfig
    this.#own = notes.own
    this.#at = notes.at
    this.#savedAtMs = cached.savedAtMs
    this.#leases = () => cached.leases
    this.#takeRemembered(cached, notes.remembered ?? {})
  }

  /** Time passes while the agent is down, too; a clock that was set back or far ahead meanwhile grants at most the whole. */
  #takeRemembered(cached: CachedLeases, left: Readonly<Record<string, number>>): void {
    const { clock, graceMs } = this.#tuning
    const passed = Math.max(0, clock.date() - cached.savedAtMs)
    for (const lease of cached.leases) {
      const ms = left[lease.node]
      if (ms !== undefined) this.remembered.add([lease], clock.now() + Math.min(ms - passed, graceMs))
    }
  }

  /** Not more often than every saveMs: a table of thousands may change all the time. */
  #save(): void {
    if (this.#options.cacheFile === undefined) return
    this.#timer ??= setTimeout(() => this.#write(), this.#tuning.saveMs).unref()
  }

  #write(): void {
    this.#timer = undefined
    this.#saving = this.#saving.then(() => this.#writeNow())
  }

  async #writeNow(): Promise<void> {
    const file = this.#options.cacheFile
    if (file === undefined) return
    try {
      await writeCache(file, this.#content())
      this.#saidProblem = undefined
    } catch (error) {
      if (!(error instanceof CacheError)) throw error
      if (this.#saidProblem !== error.message) this.#log.warn({ file }, error.message)
      this.#saidProblem = error.message
    }
  }

  #content(): CachedLeases {
    const known = new Map(this.leases.map(lease => [lease.node, lease]))
    for (const lease of this.remembered.leases) if (!known.has(lease.node)) known.set(lease.node, lease)
    const notes: Notes = {
      endpoints: this.#options.endpoints.map(normalEndpoint),
      at: this.#at,
      own: this.#own,
      remembered: this.remembered.left(this.#tuning.clock.now()),
    }
    return {
      scope: this.#scope,
      savedAtMs: this.#tuning.clock.date(),
      networkConfig: this.#networkConfig,
      leases: [...known.values()],
      notes,
    }
  }
}
