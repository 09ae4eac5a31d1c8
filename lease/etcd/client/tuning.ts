/** The store's times. Tests shorten them; production uses the defaults. */
export interface EtcdTuning {
  /** How long a lease lasts without renewal, as in flannel. */
  readonly ttlSeconds: number
  /** Time for one call before the next endpoint is tried. */
  readonly callTimeoutMs: number
  /** HTTP/2 pings: a connection is dead after a silence of both. etcd refuses an interval below 5 s. */
  readonly keepaliveMs: number
  readonly keepaliveTimeoutMs: number
  /** Wait before the first retry, doubled up to the last; each shortened at random by up to half. */
  readonly firstRetryMs: number
  readonly lastRetryMs: number
  /** How long a failure lasts before it is logged: choosing another leader takes 1 to 3 s. */
  readonly sayAfterMs: number
  /** How often this node's own key is read without an event. */
  readonly checkMs: number
  /** How often the table is read again although the watch works. */
  readonly relistMs: number
  /** After a broken watch was resumed, the table is read again at a random time within this one. */
  readonly relistAfterBreakMs: number
  /** How often a free subnet is searched for again while there is none. */
  readonly refusedRetryMs: number
  /** How long a start with a cache waits for etcd's first answer. */
  readonly cacheAfterMs: number
  /** How long another host's agent has to answer. */
  readonly askMs: number
  /** How long peers are kept that are missing from a store which has lost its data. */
  readonly graceMs: number
  /** Changes of the lease cache are written together, at most this often. */
  readonly saveMs: number
  /** In [0, 1). */
  readonly random: () => number
  readonly clock: Clock
}

export interface Clock {
  /** A monotonic clock in ms; only differences count. */
  now(): number
  /** Unix time in ms, for what outlives the process. */
  date(): number
}

export const defaultTuning: EtcdTuning = {
  ttlSeconds: 24 * 3600,
  callTimeoutMs: 5_000,
  keepaliveMs: 10_000,
  keepaliveTimeoutMs: 3_000,
  firstRetryMs: 200,
  lastRetryMs: 5_000,
  sayAfterMs: 3_000,
  checkMs: 60_000,
  relistMs: 3600_000,
  relistAfterBreakMs: 60_000,
  refusedRetryMs: 10_000,
  cacheAfterMs: 200,
  askMs: 1_000,
  graceMs: 24 * 3600_000,
  saveMs: 5_000,
  random: Math.random,
  clock: { now: () => performance.now(), date: () => Date.now() },
}
