import { messageOf } from '../common/errors.ts'
import type { Log } from '../common/log.ts'
import type { StoreHealth } from '../store.ts'
import { ApiClient, type ApiContact } from './api_client.ts'
import type { ApiConfig } from './api_config.ts'
import { ApiError } from './api_error.ts'
import { Pace, type PaceLimits } from './pace.ts'

/** The times of this store, in ms; tests shorten them. */
export interface Timing {
  readonly pace: PaceLimits
  /** How long the server may be silent in what is no watch. */
  readonly answerWithinMs: number
  /** How long a watch may be silent: bookmarks come once a minute, and two may be lost. */
  readonly watchSilenceMs: number
  /** Watches are ended after this long, and half as long again at most: a watch keeps the token that it began with. */
  readonly watchForMs: number
  /** How long the API server may be unreachable at the start before remembered leases are used. */
  readonly recallAfterMs: number
}

export const defaultTiming: Timing = {
  pace: { minMs: 500, maxMs: 30_000 },
  answerWithinMs: 30_000,
  watchSilenceMs: 150_000,
  watchForMs: 300_000,
  recallAfterMs: 5_000,
}

/** A trouble that stays, or comes and goes, is logged once in so long. */
const sayAgainMs = 300_000

/** The API server as everything in this store talks to it: retries in one place, and one view of how it does. */
export class Session implements ApiContact {
  readonly api: ApiClient
  readonly timing: Timing
  readonly #config: ApiConfig
  readonly #log: Log
  readonly #troubles = new Map<string, string>()
  readonly #said = new Map<string, { message: string; atMs: number; open: boolean }>()
  #lastContactMs: number | undefined

  constructor(config: ApiConfig, timing: Timing, log: Log) {
    this.#config = config
    this.timing = timing
    this.#log = log
    this.api = new ApiClient(config, this, timing.answerWithinMs)
    for (const warning of config.warnings) log.warn({ server: config.url }, warning)
  }

  get url(): string {
    return this.#config.url
  }

  answered(): void {
    this.#lastContactMs = Date.now()
  }

  /**
   * Tries until it works, `what` being the words for the log: `read Node n1`. Rejects only with the signal's reason,
   * and with an ApiError of a status in `final`.
   */
  async persist<T>(
    what: string,
    attempt: () => Promise<T>,
    signal: AbortSignal,
    final: readonly number[] = [],
  ): Promise<T> {
    const pace = new Pace(this.timing.pace)
    for (;;) {
      signal.throwIfAborted()
      pace.started()
      try {
        const value = await attempt()
        this.recovered(what)
        return value
      } catch (cause) {
        signal.throwIfAborted()
        throwIfDefect(cause)
        if (cause instanceof ApiError && final.includes(cause.status)) {
          this.recovered(what)
          throw cause
        }
        this.failed(what, cause)
        await pace.next(cause, signal)
      }
    }
  }

  /** Something does not work now. Logged once, and again when the reason changes. */
  failed(what: string, cause: unknown): void {
    const message = messageOf(cause)
    this.#troubles.set(what, message)
    const said = this.#said.get(what)
    if (said?.message === message && Date.now() - said.atMs < sayAgainMs) return
    this.#said.set(what, { message, atMs: Date.now(), open: true })
    const level = cause instanceof ApiError && [401, 403].includes(cause.status) ? 'error' : 'warn'
    this.#log[level]({ server: this.api.url }, `Trying again to ${what}: ${message}`)
  }

  /** Something is waited for that the API server cannot be blamed for; undefined: it is there. The caller logs it. */
  waiting(what: string, reason: string | undefined): void {
    if (reason === undefined) this.#troubles.delete(what)
    else this.#troubles.set(what, reason)
  }

  recovered(what: string): void {
    this.#troubles.delete(what)
    const said = this.#said.get(what)
    if (said?.open !== true) return
    said.open = false
    this.#log.info({ server: this.api.url }, `Kubernetes API answers again: can ${what}`)
  }

  health(): StoreHealth {
    const [trouble] = this.#troubles.values()
    return { lastContactMs: this.#lastContactMs, trouble }
  }

  close(): void {
    this.#config.close()
  }
}

/** A mistake of this program is not the API server's trouble. Node's own TypeErrors, of a bad URL say, carry a code. */
export function throwIfDefect(cause: unknown): void {
  const defect = cause instanceof TypeError || cause instanceof RangeError || cause instanceof ReferenceError
  if (defect && !('code' in cause)) throw cause
}
