import { type CachedLeases, CacheError, readCache, writeCache } from '../cache.ts'
import type { Log } from '../common/log.ts'
import { sleep } from '../common/sleep.ts'
import type { Lease } from '../lease.ts'
import { type Ip, parseIp } from '../net/ip.ts'
import { at } from './path.ts'
import type { Session } from './session.ts'

/** Changes that follow each other are written together, at most so often. */
const saveEveryMs = 10_000

/**
 * What the cluster said last, on disk. kube-proxy may need the overlay before the API server can be reached, and the other
 * way round: a node that boots then goes on with what it knew, and makes it right as soon as the API server answers.
 */
export class Recall {
  readonly #file: string | undefined
  readonly #scope: string
  readonly #session: Session
  readonly #log: Log
  #cached: Promise<CachedLeases | undefined> | undefined
  #leases: Iterable<Lease> | undefined
  #hints: readonly Ip[] | undefined
  #saving: Promise<void> | undefined

  /** No file: nothing is remembered. */
  constructor(file: string | undefined, scope: string, session: Session, log: Log) {
    this.#file = file
    this.#scope = scope
    this.#session = session
    this.#log = log
  }

  /**
   * What `live` resolves to, or, where the API server does not answer for a while, what `remembered` makes of the cache.
   * Where that is undefined, `live` is waited for as long as it takes; where it is not, `live` is aborted.
   */
  async prefer<T>(
    live: (signal: AbortSignal) => Promise<T>,
    remembered: (cached: CachedLeases) => T | undefined,
    signal: AbortSignal,
  ): Promise<T> {
    if (this.#file === undefined) return await live(signal)
    const left = new AbortController()
    const until = AbortSignal.any([signal, left.signal])
    const running = live(until).then(value => ({ value }))
    const recalled = this.whenAway(until).then(cached => {
      const value = cached && remembered(cached)
      return value === undefined ? undefined : { value }
    })
    try {
      return ((await Promise.race([running, recalled])) ?? (await running)).value
    } finally {
      left.abort(new Error('answered otherwise'))
      running.catch(() => {})
    }
  }

  /** The cache, once the API server has not answered for a while; undefined where it did or there is none. */
  async whenAway(signal: AbortSignal): Promise<CachedLeases | undefined> {
    if (this.#file === undefined) return undefined
    await sleep(this.#session.timing.recallAfterMs, signal).catch(() => {})
    if (signal.aborted || this.#session.health().lastContactMs !== undefined) return undefined
    this.#cached ??= this.#read(this.#file)
    return await this.#cached
  }

  noteHints(hints: readonly Ip[]): void {
    this.#hints = hints
  }

  /** Of the live table, whole. */
  noteLeases(leases: Iterable<Lease>): void {
    this.#leases = leases
    if (this.#file !== undefined) this.#saving ??= this.#save(this.#file)
  }

  /** After what is being written. */
  async close(): Promise<void> {
    await this.#saving
  }

  async #read(file: string): Promise<CachedLeases | undefined> {
    try {
      const cached = await readCache(file, this.#scope)
      if (cached !== undefined)
        this.#log.warn(
          { file, savedAt: new Date(cached.savedAtMs).toISOString() },
          `Kubernetes API does not answer: going on with ${cached.leases.length} leases of ${file}`,
        )
      return cached
    } catch (error) {
      if (!(error instanceof CacheError)) throw error
      this.#log.warn({ file }, error.message)
      return undefined
    }
  }

  async #save(file: string): Promise<void> {
    try {
      const leases = [...(this.#leases ?? [])]
      const notes = { hints: this.#hints ?? [] }
      const cached = { scope: this.#scope, savedAtMs: Date.now(), networkConfig: undefined, leases, notes }
      this.#leases = undefined
      await writeCache(file, cached)
    } catch (error) {
      if (!(error instanceof CacheError)) throw error
      this.#log.warn({ file }, error.message)
    }
    setTimeout(() => {
      this.#saving = this.#leases === undefined ? undefined : this.#save(file)
    }, saveEveryMs).unref()
  }
}

/** The hints that were saved. Throws AddressError. */
export function cachedHints({ notes }: CachedLeases): readonly Ip[] {
  const hints = at(notes, 'hints')
  return Array.isArray(hints) ? hints.map(hint => parseIp(String(hint))) : []
}
