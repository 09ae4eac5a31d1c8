import type { Log } from '../../common/log.ts'
import type { RetryLimits } from '../../common/pace.ts'
import { Retrier } from '../../common/retry.ts'
import type { StoreHealth } from '../../store.ts'
import { ApiClient, type ApiContact } from './api_client.ts'
import type { ApiConfig } from './api_config.ts'
import { ApiError } from './api_error.ts'

/** The times of this store, in ms; tests shorten them. */
export interface Timing {
  readonly pace: RetryLimits
  /** Longest silence of the server within an answer. */
  readonly answerWithinMs: number
  /** Longest silence of a watch: bookmarks come once a minute, and two may be lost. */
  readonly watchSilenceMs: number
  /**
   * Watches are ended after this time, or up to half as long again: a watch keeps the token that it began
   * with.
   */
  readonly watchForMs: number
  /**
   * How long after a Node joined others are expected to: whole Nodes are watched meanwhile, where many have
   * joined.
   */
  readonly joinsForMs: number
  /** How long the API server may be unreachable at the start before remembered leases are used. */
  readonly recallAfterMs: number
  /** How long a failure lasts before it is logged. */
  readonly sayAfterMs: number
  /** How often net-conf.json is looked at. */
  readonly configEveryMs: number
  /** Changes of the lease cache are written together, at most so often. */
  readonly saveMs: number
}

export const defaultTiming: Timing = {
  pace: { minMs: 500, maxMs: 30_000 },
  answerWithinMs: 30_000,
  watchSilenceMs: 150_000,
  watchForMs: 300_000,
  joinsForMs: 120_000,
  recallAfterMs: 300,
  sayAfterMs: 3_000,
  configEveryMs: 10_000,
  saveMs: 5_000,
}

/** Longest pause, whatever Retry-After the server asks for. */
const longestRetryAfterMs = 300_000

/** The API server as every part of this store uses it: one place that retries, and one view of its health. */
export class Session implements ApiContact {
  readonly api: ApiClient
  readonly timing: Timing
  readonly retrier: Retrier
  /** Whether the API server may have watch-list. */
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
   * Tries until it works, `what` being the words for the log: `read Node n1`. Rejects only with the signal's
   * reason, and with an ApiError of a status in `final`.
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

/** How long the server asked to be left alone. */
export function retryAfterMs(error: unknown): number {
  return error instanceof ApiError ? Math.min(error.retryAfterMs ?? 0, longestRetryAfterMs) : 0
}

function openRetrier(timing: Timing, log: Log): Retrier {
  return new Retrier({
    ...timing.pace,
    away: { failures: Number.POSITIVE_INFINITY, afterMs: timing.recallAfterMs },
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
 * A mistake of this program is not the API server's trouble. Node's own TypeErrors, of a bad URL say, carry a
 * code.
 */
function isDefect(error: unknown): boolean {
  const defect = error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError
  return !(error instanceof Error) || (defect && !('code' in error))
}

/** Whether it was there: false for a 404. */
export async function present(act: Promise<unknown>): Promise<boolean> {
  try {
    await act
    return true
  } catch (cause) {
    if (cause instanceof ApiError && cause.status === 404) return false
    throw cause
  }
}
