import { backoffMs } from './backoff.ts'

/** A key that does not stay as desired: the kernel refuses it, or somebody keeps undoing it. */
export interface Attempt {
  readonly count: number
  readonly lastMs: number
  /** Not to be tried again before. */
  readonly notBeforeMs: number
  /** The kernel's own words, where it refused. */
  readonly error: Error | undefined
}

/** A key that stood this long is forgiven. */
const QUIET_MS = 10_000
/** So many repairs in a row are done at once; who undoes them again is answered with back-off. */
const PATIENCE = 5

/** Per-key memory of what had to be done again. Times are of a monotonic clock, in ms. */
export class Attempts {
  readonly #attempts = new Map<string, Attempt>()

  /** Keys that the kernel refuses just now. */
  get failing(): ReadonlyMap<string, Attempt> {
    return new Map([...this.#attempts].filter(([, attempt]) => attempt.error !== undefined))
  }

  /** Keys that somebody keeps undoing. */
  get contested(): ReadonlyMap<string, Attempt> {
    return new Map(
      [...this.#attempts].filter(([, { error, count }]) => error === undefined && count > PATIENCE),
    )
  }

  /** ms that the key has to wait still; 0: go. */
  waitMs(key: string, nowMs: number): number {
    return Math.max(0, (this.#attempts.get(key)?.notBeforeMs ?? 0) - nowMs)
  }

  failed(key: string, error: Error, nowMs: number): Attempt {
    return this.#record(key, error, nowMs, 0)
  }

  repaired(key: string, nowMs: number): Attempt {
    return this.#record(key, undefined, nowMs, PATIENCE)
  }

  forget(key: string): void {
    this.#attempts.delete(key)
  }

  /** Drops what has been quiet long enough. */
  prune(nowMs: number): void {
    for (const [key, { lastMs, notBeforeMs, error }] of this.#attempts) {
      const quiet = nowMs - Math.max(lastMs, notBeforeMs)
      if (error === undefined && quiet > QUIET_MS) this.#attempts.delete(key)
    }
  }

  #record(key: string, error: Error | undefined, nowMs: number, free: number): Attempt {
    const count = (this.#attempts.get(key)?.count ?? 0) + 1
    const notBeforeMs = count > free ? nowMs + backoffMs(count - free) : nowMs
    const attempt = { count, lastMs: nowMs, notBeforeMs, error }
    this.#attempts.set(key, attempt)
    return attempt
  }
}
