import { isDeepStrictEqual } from 'node:util'
import type { CachedLeases } from '../../cache/cache.ts'
import { LeaseCache } from '../../cache/lease_cache.ts'
import type { Log } from '../../common/log.ts'
import type { Lease } from '../../lease.ts'
import { tryParseNetworkConfig } from '../../network_config/parser.ts'
import type { EtcdOptions } from '../../options.ts'
import type { Head, KeyValue } from '../client/keys.ts'
import type { EtcdTuning } from '../client/tuning.ts'
import { GracePeers } from './grace_peers.ts'
import { type Notes, readNotes, storeNames } from './notes.ts'

export function etcdScope({ prefix }: EtcdOptions): string {
  return `etcd ${prefix}`
}

/**
 * What this node knows while etcd is away or has lost its data: the last network config, table and own key,
 * kept in a file too, and the peers kept after a loss of data.
 */
export class LastSeen {
  readonly gracePeers = new GracePeers()
  readonly #options: EtcdOptions
  readonly #tuning: EtcdTuning
  readonly #log: Log
  readonly #cache: LeaseCache<Notes>
  /** URLs at which members of the cluster answered, besides those in the options. */
  endpoints: readonly string[] = []
  networkConfig: string | undefined
  own: KeyValue | undefined
  /** Whether `own` was written since etcd lost its data. */
  #isOwnInHistory = false
  /** The store as it was when the leases were last seen. */
  at: Head | undefined
  #leases: () => readonly Lease[] = () => []
  /** The network config from the cache, until etcd's own is read; undefined otherwise. */
  unconfirmedConfig: string | undefined
  /** Unix ms at which the file was saved, while its content is in use; undefined otherwise. */
  savedAtMs: number | undefined
  #loaded: Promise<void> | undefined

  constructor(options: EtcdOptions, tuning: EtcdTuning, log: Log) {
    this.#options = options
    this.#tuning = tuning
    this.#log = log
    const scope = etcdScope(options)
    const { saveMs } = tuning
    this.#cache = new LeaseCache({ file: options.cacheFile, scope, readNotes, saveMs, log })
  }

  /** Reads the cache file, if there is one; a file that cannot be used is logged once and ignored. */
  load(): Promise<void> {
    this.#loaded ??= this.#load()
    return this.#loaded
  }

  async #load(): Promise<void> {
    const cached = await this.#cache.load()
    const why = cached && this.#unusable(cached)
    const file = this.#options.cacheFile
    if (why !== undefined)
      this.#log.warn({ file }, `Cannot use the lease cache ${file}: ${why}; starting without it`)
    else if (cached !== undefined) this.#take(cached)
  }

  /** As `own`; undefined where it belongs to a history that etcd has lost. */
  get ownInHistory(): KeyValue | undefined {
    return this.#isOwnInHistory ? this.own : undefined
  }

  get leases(): readonly Lease[] {
    return this.#leases()
  }

  /**
   * Call with another text than `networkConfig`. Forgets cached leases, but not our own key, which is ours in
   * any network.
   */
  sawNetworkConfig(text: string): void {
    if (this.networkConfig !== undefined) {
      this.#log.info(
        {},
        'The network config has changed since the lease cache was written: ignoring its leases',
      )
      this.at = undefined
      this.#leases = () => []
    }
    this.networkConfig = text
    this.#save()
  }

  sawEndpoints(endpoints: readonly string[]): void {
    if (isDeepStrictEqual(endpoints, this.endpoints)) return
    this.endpoints = endpoints
    this.#save()
  }

  sawOwn(own: KeyValue): void {
    this.#isOwnInHistory = true
    if (isDeepStrictEqual(own, this.own)) return
    this.own = own
    this.#save()
  }

  /** `leases` is called when the table is needed. */
  sawTable(at: Head, leases: () => readonly Lease[]): void {
    this.at = at
    this.#leases = leases
    this.savedAtMs = undefined
    this.#save()
  }

  /** The store lost its data: keeps known peers for the grace period. Returns their number. */
  storeWasReset(): number {
    this.gracePeers.add(this.leases, this.#tuning.clock.now() + this.#tuning.graceMs)
    this.at = undefined
    this.#isOwnInHistory = false
    this.#save()
    return this.gracePeers.leases.length
  }

  async close(): Promise<void> {
    await this.#cache.close()
  }

  #unusable({ notes, networkConfig }: CachedLeases<Notes>): string | undefined {
    const names = new Set(storeNames(this.#options))
    if (!notes.endpoints.some(name => names.has(name)))
      return `it is of another etcd, ${notes.endpoints.join(', ')}`
    const parsed = networkConfig === undefined ? undefined : tryParseNetworkConfig(networkConfig)
    return parsed instanceof Error ? parsed.message : undefined
  }

  #take(cached: CachedLeases<Notes>): void {
    const { notes } = cached
    if (this.#options.joinSecret !== undefined)
      this.endpoints = notes.endpoints.filter(name => name.startsWith('https:'))
    this.networkConfig = cached.networkConfig
    this.own = notes.own
    this.#isOwnInHistory = notes.at !== undefined
    this.at = notes.at
    this.savedAtMs = cached.savedAtMs
    this.#leases = () => cached.leases
    this.#takeGracePeers(cached)
  }

  /** The period also runs while the agent is down; whatever the clock says, at most all of it is left. */
  #takeGracePeers(cached: CachedLeases<Notes>): void {
    const { clock, graceMs } = this.#tuning
    const passed = Math.max(0, clock.date() - cached.savedAtMs)
    const left = new Map(cached.notes.remembered)
    for (const lease of cached.leases) {
      const ms = left.get(lease.node)
      if (ms !== undefined) this.gracePeers.add([lease], clock.now() + Math.min(ms - passed, graceMs))
    }
  }

  #save(): void {
    this.#cache.save(() => this.#content())
  }

  #content(): Omit<CachedLeases<Notes>, 'scope'> {
    const known = new Map(this.leases.map(lease => [lease.node, lease]))
    for (const lease of this.gracePeers.leases) if (!known.has(lease.node)) known.set(lease.node, lease)
    const notes: Notes = {
      endpoints: [...new Set([...storeNames(this.#options), ...this.endpoints])],
      at: this.at,
      own: this.own,
      remembered: this.gracePeers.left(this.#tuning.clock.now()),
    }
    return {
      savedAtMs: this.#tuning.clock.date(),
      networkConfig: this.networkConfig,
      leases: [...known.values()],
      notes,
    }
  }
}
