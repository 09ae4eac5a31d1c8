import type { CachedLeases } from '../../cache/cache.ts'
import { LeaseCache } from '../../cache/lease_cache.ts'
import type { Log } from '../../common/log.ts'
import { sleep } from '../../common/sleep.ts'
import { asList, asObject, asText } from '../../json/json.ts'
import type { Lease } from '../../lease.ts'
import { type Ip, parseIp } from '../../net/ip.ts'
import type { Session } from '../client/session.ts'

const MAX_TEXT = 64

/** What a Kubernetes store writes beside the leases: the public IPs that the operator chose for this Node. */
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
  /** When the cache was first asked for, on the monotonic clock. */
  #askedMs: number | undefined

  /** No file: nothing is remembered. */
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
   * The result of `live`; where the API server does not answer for a while, what `remembered` makes of the
   * cache. While that is undefined, waits for `live`; otherwise aborts `live`.
   */
  async prefer<T>(
    live: (signal: AbortSignal) => Promise<T>,
    remembered: (cached: Cached) => T | undefined,
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

  /**
   * The cache, once the API server has not answered for a while; undefined where it answered or there is no
   * cache.
   */
  async whenAway(signal: AbortSignal): Promise<Cached | undefined> {
    if (this.#file === undefined) return undefined
    this.#askedMs ??= performance.now()
    const waitedMs = performance.now() - this.#askedMs
    await sleep(Math.max(0, this.#session.timing.recallAfterMs - waitedMs), signal).catch(() => {})
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

  /** The leases changed; `leases` returns all of them when they are written. */
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

/** The hints that were saved. */
export function cachedHints({ notes }: Cached): readonly Ip[] {
  return notes.hints
}

/** Foreign input, as the whole file. Throws an Error. */
function readNotes(value: unknown): Notes {
  const { hints } = asObject('notes', value)
  return { hints: asList('hints', hints).map(hint => parseIp(asText('a hint', hint, MAX_TEXT))) }
}
