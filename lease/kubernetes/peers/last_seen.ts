import type { CachedLeases } from '../../cache/cache.ts'
import { LeaseCache } from '../../cache/lease_cache.ts'
import type { Log } from '../../common/log.ts'
import { sleep } from '../../common/sleep.ts'
import { asList, asObject, asText } from '../../json/json.ts'
import type { Lease } from '../../lease.ts'
import { type Ip, parseIp } from '../../net/ip.ts'
import type { Session } from '../client/session.ts'

const MAX_TEXT = 64

/**
 * What a Kubernetes store writes into the cache besides the leases: the public IPs that the operator chose
 * for this Node.
 */
interface Notes {
  readonly hints: readonly Ip[]
}

type Cached = CachedLeases<Notes>

/**
 * The cluster's last known state, on disk. kube-proxy may need the overlay before the API server can be
 * reached, and the API server may need kube-proxy: a node that boots starts with this state and corrects it
 * once the API server answers.
 */
export class LastSeen {
  readonly #file: string | undefined
  readonly #session: Pick<Session, 'timing' | 'health'>
  readonly #log: Log
  readonly #cache: LeaseCache<Notes>
  #hints: readonly Ip[] = []
  #said = false
  /** When the cache was first needed, on the monotonic clock. */
  #askedMs: number | undefined

  /** Without `file` there is no cache. */
  constructor(
    file: string | undefined,
    scope: string,
    session: Pick<Session, 'timing' | 'health'>,
    log: Log,
  ) {
    this.#file = file
    this.#session = session
    this.#log = log
    this.#cache = new LeaseCache({ file, scope, readNotes, saveMs: session.timing.saveMs, log })
  }

  /**
   * The result of `live`, or, while the API server is away, of `fromCache`, which then aborts `live`. Where
   * `fromCache` returns undefined, waits for `live`.
   */
  async prefer<T>(
    live: (signal: AbortSignal) => Promise<T>,
    fromCache: (cached: Cached) => T | undefined,
    signal: AbortSignal,
  ): Promise<T> {
    if (this.#file === undefined) return await live(signal)
    const left = new AbortController()
    const until = AbortSignal.any([signal, left.signal])
    const running = live(until).then(value => ({ value }))
    const cached = this.whenAway(until).then(found => {
      const value = found && fromCache(found)
      return value === undefined ? undefined : { value }
    })
    try {
      return ((await Promise.race([running, cached])) ?? (await running)).value
    } finally {
      left.abort(new Error('the other source answered'))
      running.catch(() => {})
    }
  }

  /**
   * Resolves to the cache once the API server has not answered for `cacheAfterMs`; undefined where it
   * answered or there is no cache.
   */
  async whenAway(signal: AbortSignal): Promise<Cached | undefined> {
    if (this.#file === undefined) return undefined
    this.#askedMs ??= performance.now()
    const waitedMs = performance.now() - this.#askedMs
    await sleep(Math.max(0, this.#session.timing.cacheAfterMs - waitedMs), signal).catch(() => {})
    if (signal.aborted || this.#session.health().lastContactMs !== undefined) return undefined
    const cached = await this.#cache.load()
    if (cached !== undefined && !this.#said) {
      this.#said = true
      this.#log.warn(
        { file: this.#file, savedAt: new Date(cached.savedAtMs).toISOString() },
        `Kubernetes API does not answer: continuing with ${cached.leases.length} leases of ${this.#file}`,
      )
    }
    return cached
  }

  noteHints(hints: readonly Ip[]): void {
    this.#hints = hints
  }

  /** Call when the leases changed; `leases` is called when they are written. */
  noteLeases(leases: () => Iterable<Lease>): void {
    this.#cache.save(() => ({
      savedAtMs: Date.now(),
      networkConfig: undefined,
      leases: [...leases()],
      notes: { hints: this.#hints },
    }))
  }

  /** Writes what is not yet written. */
  async close(): Promise<void> {
    await this.#cache.close()
  }
}

/** Reads the notes, which are foreign input. Throws an Error. */
function readNotes(value: unknown): Notes {
  const { hints } = asObject('notes', value)
  return { hints: asList('hints', hints).map(hint => parseIp(asText('a hint', hint, MAX_TEXT))) }
}
