import type { Log } from '../../common/log.ts'
import type { RetryLimits } from '../../common/pace.ts'
import { Retrier } from '../../common/retry.ts'
import type { StoreHealth } from '../../store.ts'
import { ApiClient, type ApiContact } from './api_client.ts'
import type { ApiConfig } from './api_config.ts'
import { ApiError, isMissing } from './api_error.ts'

/** The times of this store, in ms; tests shorten them. */
export interface Timing {
  readonly pace: RetryLimits
  /** Longest silence of the server within an answer. */
  readonly answerWithinMs: number
  /** Longest silence of a watch: bookmarks come once a minute, and two may be lost. */
  readonly watchSilenceMs: number
  /**
   * Watches end after this time, or up to half as long again, because a watch keeps the token that it began
   * with.
   */
  readonly watchForMs: number
  /**
   * How long after a Node joined more are expected. Meanwhile whole Nodes are watched, if many have joined.
   */
  readonly joinsForMs: number
  /** How long the API server may be unreachable at the start before the cached leases are used. */
  readonly cacheAfterMs: number
  /** How long a failure lasts before it is logged. */
  readonly sayAfterMs: number
  /** How often net-conf.json is read. */
  readonly configEveryMs: number
  /** Changes of the lease cache within this time are written together. */
  readonly saveMs: number
}

export const defaultTiming: Timing = {
  pace: { minMs: 500, maxMs: 30_000 },
  answerWithinMs: 30_000,
  watchSilenceMs: 150_000,
  watchForMs: 300_000,
  joinsForMs: 120_000,
  cacheAfterMs: 300,
  sayAfterMs: 3_000,
  configEveryMs: 10_000,
  saveMs: 5_000,
}

/** Longest pause that a server can ask for by Retry-After. */
const longestRetryAfterMs = 300_000

/** The API server for all parts of this store: they share its retrier and its health. */
export class Session implements ApiContact {
  readonly api: ApiClient
  readonly timing: Timing
  readonly retrier: Retrier
  /** False once the API server was found to have no watch-list. */
  streamsLists = true
  readonly #config: ApiConfig
  #lastContactMs: number | undefined

  constructor(config: ApiConfig, timing: Timing, log: Log) {
    this.#config = config
    this.timing = timing
    this.retrier = openRetrier(timing, log)
    this.api = new ApiClient(config, this, timing.answerWithinMs, log)
    if (config.isProxied) log.info({ server: config.url }, `Asking the Kubernetes API at ${config.place}`)
    for (const warning of config.warnings) log.warn({ server: config.url }, warning)
  }

  get url(): string {
    return this.#config.url
  }

  answered(): void {
    this.#lastContactMs = Date.now()
  }

  /**
   * Retries `act` until it succeeds; `what` names it in the log: `read Node n1`. Rejects only with the
   * signal's reason, and with an ApiError whose status is in `final`.
   */
  persist<T>(
    what: string,
    attempt: () => Promise<T>,
    signal: AbortSignal,
    final: readonly number[] = [],
  ): Promise<T> {
    const isFinal = (error: unknown) => error instanceof ApiError && final.includes(error.status)
    return this.retrier.until(what, attempt, signal, isFinal)
  }

  health(): StoreHealth {
    const { trouble, troubleMs, failures, restarts } = this.retrier
    return { lastContactMs: this.#lastContactMs, trouble, troubleMs, failures, watchRestarts: restarts }
  }

  close(): void {
    this.#config.close()
  }
}

/** How long the server asked the client to wait, in ms; 0 where it did not. */
export function retryAfterMs(error: unknown): number {
  return error instanceof ApiError ? Math.min(error.retryAfterMs ?? 0, longestRetryAfterMs) : 0
}

function openRetrier(timing: Timing, log: Log): Retrier {
  return new Retrier({
    ...timing.pace,
    away: { failures: Number.POSITIVE_INFINITY, afterMs: timing.cacheAfterMs },
    isTrouble: error => !isDefect(error),
    needsOperator: error => error instanceof ApiError && [401, 403, 422].includes(error.status),
    askedMs: retryAfterMs,
    sayAfterMs: timing.sayAfterMs,
    random: Math.random,
    now: () => performance.now(),
    log,
  })
}

/**
 * Whether the error is a defect of this program and no trouble of the API server. Node.js' own TypeErrors,
 * for instance for a bad URL, carry a code.
 */
function isDefect(error: unknown): boolean {
  const defect = error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError
  return !(error instanceof Error) || (defect && !('code' in error))
}

/** Whether the object exists: false where the request got a 404. */
export async function present(act: Promise<unknown>): Promise<boolean> {
  try {
    await act
    return true
  } catch (cause) {
    if (isMissing(cause)) return false
    throw cause
  }
}
