import type { CachedLeases } from '../cache.ts'
import type { Log } from '../common/log.ts'
import { sleep } from '../common/sleep.ts'
import { asList, asObject, asText } from '../json.ts'
import type { Lease } from '../lease.ts'
import { LeaseCache } from '../lease_cache.ts'
import { type Ip, parseIp } from '../net/ip.ts'
import type { Session } from './session.ts'

const MAX_TEXT = 64

/** What a Kubernetes store writes beside the leases: the public IPs that the operator chose for this Node. */
interface Notes {
  readonly hints: readonly Ip[]
}

type Cached = CachedLeases<Notes>

/**
 * What the cluster said last, on disk. kube-proxy may need the overlay before the API server can be reached, and the other
 * way round: a node that boots then goes on with what it knew, and makes it right as soon as the API server answers.
 */
export class Recall {
  readonly #file: string | undefined
  readonly #session: Session
  readonly #log: Log
  readonly #cache: LeaseCache<Notes>
  #hints: readonly Ip[] = []
  #said = false

  /** No file: nothing is remembered. */
  constructor(file: string | undefined, scope: string, session: Session, log: Log) {
    this.#file = file
    this.#session = session
    this.#log = log
    this.#cache = new LeaseCache({ file, scope, readNotes, saveMs: session.timing.saveMs, log })
  }

  /**
   * What `live` resolves to, or, where the API server does not answer for a while, what `remembered` makes of the cache.
   * Where that is undefined, `live` is waited for as long as it takes; where it is not, `live` is aborted.
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

  /** The cache, once the API server has not answered for a while; undefined where it did or there is none. */
  async whenAway(signal: AbortSignal): Promise<Cached | undefined> {
    if (this.#file === undefined) return undefined
    await sleep(this.#session.timing.recallAfterMs, signal).catch(() => {})
    if (signal.aborted || this.#session.health().lastContactMs !== undefined) return undefined
    const cached = await this.#cache.load()
    if (cached !== undefined && !this.#said) {
      this.#said = true
      this.#log.warn(
        { file: this.#file, savedAt: new Date(cached.savedAtMs).toISOString() },
        `Kubernetes API does not answer: going on with ${cached.leases.length} leases of ${this.#file}`,
      )
    }
    return cached
  }

  noteHints(hints: readonly Ip[]): void {
    this.#hints = hints
  }

  /** There are other leases now; `leases` gives them all when they are written. */
  noteLeases(leases: () => Iterable<Lease>): void {
    this.#cache.save(() => ({
      savedAtMs: Date.now(),
      networkConfig: undefined,
      leases: [...leases()],
      notes: { hints: this.#hints },
    }))
  }

  /** Writes what is not written yet. */
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
