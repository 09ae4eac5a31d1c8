import type { Log } from '../common/log.ts'
import { Retrier } from '../common/retry.ts'
import type { Lease, LeaseTableChange } from '../lease.ts'
import type { Ip } from '../net/ip.ts'
import type { Prefix } from '../net/prefix.ts'
import type { NetworkConfig } from '../network_config.ts'
import type { EtcdOptions } from '../options.ts'
import type { Reservations } from '../reservations.ts'
import type { ConfigDemands, LeaseRequest, LeaseStore, StoreHealth } from '../store.ts'
import { LiveTable } from '../table.ts'
import { acquire, republish } from './acquire.ts'
import type { Claim } from './claim.ts'
import { EtcdClient } from './client.ts'
import type { EtcdContext } from './context.ts'
import { EtcdError } from './error.ts'
import { Follower } from './follow.ts'
import { Grants } from './grants.ts'
import { Keeper } from './keep.ts'
import type { Head } from './keys.ts'
import { ConfigKey, offerNetworkConfig } from './network.ts'
import { Recall } from './recall.ts'
import { release, reserve } from './reserve.ts'
import { defaultTuning, type EtcdTuning } from './tuning.ts'

/** flannel's leases in etcd v3: `<prefix>/config` and `<prefix>/subnets/<key>`, each key with an etcd lease of its own. */
export function openEtcdStore(
  options: EtcdOptions,
  log: Log,
  tuning: Partial<EtcdTuning> = {},
): EtcdLeaseStore {
  return new EtcdLeaseStore(options, log, { ...defaultTuning, ...tuning })
}

export class EtcdLeaseStore implements LeaseStore, Reservations {
  readonly #options: EtcdOptions
  readonly #ctx: EtcdContext
  #keeper: Keeper | undefined
  readonly #claims = new Map<string, Claim>()
  readonly #config: ConfigKey

  constructor(options: EtcdOptions, log: Log, tuning: EtcdTuning) {
    this.#options = options
    const client = new EtcdClient(options, tuning)
    client.onReset = (before, after) => this.#reset(before, after)
    this.#ctx = {
      client,
      patience: openRetrier(client.endpoints.length, tuning, log),
      tuning,
      log,
      recall: new Recall(options, tuning, log),
      grants: new Grants(client, tuning),
      conflicts: new Map(),
      onReading: () => {},
      onGone: () => {},
      onReset: new Set(),
      configKey: `${options.prefix}/config`,
      folder: `${options.prefix}/subnets/`,
    }
    this.#config = new ConfigKey(this.#ctx, options)
  }

  async networkConfig(signal: AbortSignal, demands: ConfigDemands = {}): Promise<NetworkConfig> {
    await this.#load()
    return this.#config.wait(signal, demands)
  }

  /** Stores a network config where there is none. Resolves to whether it was stored. */
  offerNetworkConfig(text: string, signal: AbortSignal): Promise<boolean> {
    return offerNetworkConfig(this.#ctx, text, signal)
  }

  reserve(
    subnets: readonly Prefix[],
    publicIps: readonly Ip[],
    signal: AbortSignal,
  ): Promise<'reserved' | 'was reserved'> {
    return reserve(this.#ctx, subnets, publicIps, signal)
  }

  release(subnets: readonly Prefix[], signal: AbortSignal): Promise<'removed' | 'runs out'> {
    return release(this.#ctx, subnets, signal)
  }

  async acquire(request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    await this.#load()
    const { held } = request
    const running = held && this.#claims.get(held.node)
    const claim = running
      ? { ...republish(this.#ctx, request, running.kv, held), confirmed: running.confirmed }
      : await acquire(this.#ctx, request, signal)
    this.#claims.set(claim.lease.node, claim)
    if (claim.confirmed && !running) this.#ctx.recall.sawOwn(claim.kv)
    return claim.lease
  }

  async keep(lease: Lease, signal: AbortSignal, onKept: () => void = () => {}): Promise<void> {
    const claim = this.#claims.get(lease.node)
    if (!claim) throw new Error(`Cannot keep ${lease.node}: this store did not acquire it`)
    const keeper = new Keeper(this.#ctx, claim, this.#options.renewMarginMs, onKept)
    this.#keeper = keeper
    try {
      await keeper.run(signal)
    } finally {
      this.#claims.set(lease.node, keeper.claim)
    }
  }

  async *watch(signal: AbortSignal): AsyncGenerator<LeaseTableChange, never, undefined> {
    await this.#load()
    const table = new LiveTable()
    const stop = new AbortController()
    const following = Promise.all([
      new Follower(this.#ctx, table).run(stop.signal),
      this.#config.follow(stop.signal),
    ]).catch(error => table.fail(error))
    try {
      return yield* table.watch(signal)
    } finally {
      stop.abort()
      await following
    }
  }

  reconnect(): void {
    this.#ctx.client.reconnect()
  }

  get endpoints(): readonly string[] {
    return this.#options.endpoints
  }

  health(): StoreHealth {
    const { client, patience, conflicts } = this.#ctx
    const { trouble, troubleMs } = patience
    const conflict = conflicts.size === 0 ? undefined : [...conflicts.values()].join('; ')
    return {
      lastContactMs: client.lastContactMs,
      trouble,
      troubleMs,
      conflict,
      notice: this.#config.notice,
      failures: patience.failures,
      reconnects: client.reconnects,
      leaseEndsAtMs: this.#keeper?.endsAtMs,
    }
  }

  /** Calls and streams begun so far. */
  get calls(): number {
    return this.#ctx.client.calls
  }

  async close(): Promise<void> {
    this.#ctx.client.close()
    await this.#ctx.recall.close()
  }

  async #load(): Promise<void> {
    await this.#ctx.recall.load()
    this.#ctx.client.known ??= this.#ctx.recall.at
  }

  /** A store that was set up anew is no world without peers: they are kept until they have claimed their leases again. */
  #reset(before: Head, after: Head): void {
    const { recall, tuning, log, onReset } = this.#ctx
    const peers = recall.storeWasReset()
    log.error(
      { before, after, peers },
      `etcd has lost its data: ${lossOf(before, after)}. Claiming our lease again, keeping ${peers} leases for ` +
        `${tuning.graceMs / 3600_000} h unless they come back changed`,
    )
    for (const tell of onReset) tell()
  }
}

function openRetrier(endpoints: number, tuning: EtcdTuning, log: Log): Retrier {
  return new Retrier({
    minMs: tuning.firstRetryMs,
    maxMs: tuning.lastRetryMs,
    away: { failures: endpoints, afterMs: tuning.callTimeoutMs },
    isTrouble: error => error instanceof EtcdError && error.kind !== 'closed',
    random: tuning.random,
    now: () => tuning.clock.now(),
    log,
  })
}

function lossOf(before: Head, after: Head): string {
  if (before.clusterId !== after.clusterId)
    return `its cluster is ${after.clusterId} and was ${before.clusterId}`
  return after.revision < before.revision
    ? `its revision went back from ${before.revision} to ${after.revision}`
    : `what it holds from before revision ${before.revision} is not what it held then: an older snapshot was restored`
}
