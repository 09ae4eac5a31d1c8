import { backoffMs } from '../../lease/common/backoff.ts'

/** A key that does not stay as desired: the kernel refuses it, or somebody keeps undoing it. */
export interface Attempt {
  /** In a row. */
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

  failed(key: string, error: Error, nowMs: number, longestMs?: number): Attempt {
    return this.#record(key, error, nowMs, 0, longestMs)
  }

  repaired(key: string, nowMs: number): Attempt {
    return this.#record(key, undefined, nowMs, PATIENCE)
  }

  forget(key: string): void {
    this.#attempts.delete(key)
  }

  /** What the kernel refused may be tried again at once: something that it depends on has changed. */
  retryFailing(nowMs: number): void {
    for (const [key, attempt] of this.failing)
      this.#attempts.set(key, { ...attempt, count: 0, notBeforeMs: nowMs })
  }

  /** The key has to wait no longer: the device under its entry was just mended. */
  release(key: string, nowMs: number): void {
    const attempt = this.#attempts.get(key)
    if (attempt !== undefined) this.#attempts.set(key, { ...attempt, notBeforeMs: nowMs })
  }

  /** Drops what has been quiet long enough. */
  prune(nowMs: number): void {
    for (const [key, attempt] of this.#attempts) if (isOver(attempt, nowMs)) this.#attempts.delete(key)
  }

  #record(key: string, error: Error | undefined, nowMs: number, free: number, longestMs?: number): Attempt {
    const before = this.#attempts.get(key)
    const count = before === undefined || isOver(before, nowMs) ? 1 : before.count + 1
    const notBeforeMs = count > free ? nowMs + backoffMs(count - free, longestMs) : nowMs
    const attempt = { count, lastMs: nowMs, notBeforeMs, error }
    this.#attempts.set(key, attempt)
    return attempt
  }
}

function isOver({ lastMs, notBeforeMs, error }: Attempt, nowMs: number): boolean {
  return error === undefined && nowMs - Math.max(lastMs, notBeforeMs) > QUIET_MS
}
