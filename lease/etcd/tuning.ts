/** What tests shorten and production leaves alone. */
export interface EtcdTuning {
  /** Life of a lease that nobody renews; flannel's, so that both kinds of node mean the same by it. */
  readonly ttlSeconds: number
  /** How long one call may take before the next endpoint is tried. */
  readonly callTimeoutMs: number
  /** HTTP/2 pings: a connection whose other end is silent for the sum of both is dead. etcd refuses less than 5 s. */
  readonly keepaliveMs: number
  readonly keepaliveTimeoutMs: number
  /** Wait before the first retry, doubled for each more up to the last, each time shortened by up to half at random. */
  readonly firstRetryMs: number
  readonly lastRetryMs: number
  /** How often the own key is read although nothing was heard of it. */
  readonly checkMs: number
  /** How often the table is read anew although the watch goes on. */
  readonly relistMs: number
  /** After a watch broke and was resumed, the table is read anew within this time, spread over it at random. */
  readonly relistAfterBreakMs: number
  /** How often the network is looked through again while it has no free subnet. */
  readonly refusedRetryMs: number
  /** With a cache at hand, a start waits no longer for the first answer. */
  readonly cacheAfterMs: number
  /** How long the agent of another host has to show that it runs. */
  readonly askMs: number
  /** How long peers are believed in that a store which lost its data no longer names. */
  readonly graceMs: number
  /** Changes of the lease cache are written together, at most so often. */
  readonly saveMs: number
  /** In [0, 1). */
  readonly random: () => number
  readonly clock: Clock
}

export interface Clock {
  /** Milliseconds that never jump; only differences mean something. */
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
  checkMs: 60_000,
  relistMs: 3600_000,
  relistAfterBreakMs: 60_000,
  refusedRetryMs: 10_000,
  cacheAfterMs: 300,
  askMs: 1_000,
  graceMs: 24 * 3600_000,
  saveMs: 5_000,
  random: Math.random,
  clock: { now: () => performance.now(), date: () => Date.now() },
}
