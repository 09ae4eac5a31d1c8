import type { CachedLeases } from '../cache.ts'
import type { Log } from '../common/log.ts'
import { asList, asNumber, asObject, asText, JsonError, MAX_LEASE_BYTES } from '../json.ts'
import type { Lease } from '../lease.ts'
import { LeaseCache } from '../lease_cache.ts'
import { NetworkConfigError, parseNetworkConfig } from '../network_config.ts'
import type { EtcdOptions } from '../options.ts'
import { normalEndpoint } from './endpoint.ts'
import type { Head, KeyValue } from './keys.ts'
import { Remembered } from './remembered.ts'
import type { EtcdTuning } from './tuning.ts'

const MAX_TEXT = 1024
/** Longer than any grace. */
const MAX_MS = 1e12

/** What an etcd store writes beside the leases. */
interface Notes {
  readonly endpoints: readonly string[]
  readonly at: Head | undefined
  /** Our own key as we wrote it last. */
  readonly own: KeyValue | undefined
  /** Time left in ms of peers that a store without them is outlived by, by name. */
  readonly remembered: readonly (readonly [string, number])[]
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
  readonly #cache: LeaseCache<Notes>
  #networkConfig: string | undefined
  #own: KeyValue | undefined
  #at: Head | undefined
  #leases: () => readonly Lease[] = () => []
  /** The network config where it was taken from the cache and etcd's has not been seen since. */
  unconfirmedConfig: string | undefined
  #savedAtMs: number | undefined
  #loaded: Promise<void> | undefined

  constructor(options: EtcdOptions, tuning: EtcdTuning, log: Log) {
    this.#options = options
    this.#tuning = tuning
    this.#log = log
    const scope = `etcd ${options.prefix}`
    const { saveMs } = tuning
    this.#cache = new LeaseCache({ file: options.cacheFile, scope, readNotes, saveMs, log })
  }

  /** Reads the cache file, if there is one; a file that cannot be used is said once and left out. */
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

  /** Leases of another network are none of ours; the key that we hold is ours whatever the network. */
  sawNetworkConfig(text: string): void {
    if (this.#networkConfig !== undefined && this.#networkConfig !== text) {
      this.#log.info({}, 'The network config is not the one of the lease cache: starting without it')
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
    await this.#cache.close()
  }

  /** Why a cache that is sound by itself is of no use here. */
  #unusable({ notes, networkConfig }: CachedLeases<Notes>): string | undefined {
    const endpoints = new Set(this.#options.endpoints.map(normalEndpoint))
    if (!notes.endpoints.some(endpoint => endpoints.has(endpoint)))
      return `it is of another etcd, ${notes.endpoints.join(', ')}`
    try {
      if (networkConfig !== undefined) parseNetworkConfig(networkConfig)
      return undefined
    } catch (error) {
      if (!(error instanceof NetworkConfigError)) throw error
      return error.message
    }
  }

  #take(cached: CachedLeases<Notes>): void {
    const { notes } = cached
    this.#networkConfig = cached.networkConfig
    this.#own = notes.own
    this.#at = notes.at
    this.#savedAtMs = cached.savedAtMs
    this.#leases = () => cached.leases
    this.#takeRemembered(cached)
  }

  /** Time passes while the agent is down, too; a clock that was set back or far ahead meanwhile grants at most the whole. */
  #takeRemembered(cached: CachedLeases<Notes>): void {
    const { clock, graceMs } = this.#tuning
    const passed = Math.max(0, clock.date() - cached.savedAtMs)
    const left = new Map(cached.notes.remembered)
    for (const lease of cached.leases) {
      const ms = left.get(lease.node)
      if (ms !== undefined) this.remembered.add([lease], clock.now() + Math.min(ms - passed, graceMs))
    }
  }

  #save(): void {
    this.#cache.save(() => this.#content())
  }

  #content(): Omit<CachedLeases<Notes>, 'scope'> {
    const known = new Map(this.leases.map(lease => [lease.node, lease]))
    for (const lease of this.remembered.leases) if (!known.has(lease.node)) known.set(lease.node, lease)
    const notes: Notes = {
      endpoints: this.#options.endpoints.map(normalEndpoint),
      at: this.#at,
      own: this.#own,
      remembered: this.remembered.left(this.#tuning.clock.now()),
    }
    return {
      savedAtMs: this.#tuning.clock.date(),
      networkConfig: this.#networkConfig,
      leases: [...known.values()],
      notes,
    }
  }
}

/** Foreign input, as the whole file. Throws JsonError. */
function readNotes(value: unknown): Notes {
  const notes = asObject('notes', value)
  const remembered = asList('remembered', notes.remembered).map((entry): [string, number] => {
    const [node, ms] = asList('a remembered peer', entry)
    return [asText('a remembered peer', node, MAX_TEXT), asNumber('its time', ms, -Number.MAX_VALUE, MAX_MS)]
  })
  return {
    endpoints: asList('endpoints', notes.endpoints).map(it => asText('an endpoint', it, MAX_TEXT)),
    at: notes.at === undefined ? undefined : readHead(notes.at),
    own: notes.own === undefined ? undefined : readKeyValue(notes.own),
    remembered,
  }
}

function readHead(value: unknown): Head {
  const { clusterId, revision } = asObject('at', value)
  return { clusterId: asText('clusterId', clusterId, MAX_TEXT), revision: readRevision('revision', revision) }
}

function readKeyValue(value: unknown): KeyValue {
  const own = asObject('own', value)
  const leaseId = asText('leaseId', own.leaseId, MAX_TEXT)
  if (!/^-?\d+$/.test(leaseId)) throw new JsonError('leaseId is no number')
  return {
    key: asText('key', own.key, MAX_TEXT),
    value: asText('value', own.value, MAX_LEASE_BYTES),
    createRevision: readRevision('createRevision', own.createRevision),
    modRevision: readRevision('modRevision', own.modRevision),
    leaseId,
  }
}

function readRevision(name: string, value: unknown): number {
  return asNumber(name, value, 0, Number.MAX_SAFE_INTEGER)
}
