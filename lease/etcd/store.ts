import type { Log } from '../common/log.ts'
import type { Lease, LeaseTableChange } from '../lease.ts'
import type { Ip } from '../net/ip.ts'
import type { Prefix } from '../net/prefix.ts'
import type { NetworkConfig } from '../network_config/network_config.ts'
import type { EtcdOptions } from '../options.ts'
import type { Released, Reservations, Reserved } from '../reservations.ts'
import type { ConfigDemands, LeaseRequest, LeaseStore, LeaseTimes, StoreHealth } from '../store.ts'
import { LiveTable } from '../table.ts'
import { EtcdClient } from './client/client.ts'
import type { Head } from './client/keys.ts'
import { openRetrier } from './client/retrier.ts'
import { defaultTuning, type EtcdTuning } from './client/tuning.ts'
import { Follower } from './follow.ts'
import { LastSeen } from './last_seen/last_seen.ts'
import { leaseTimes } from './lease_times.ts'
import { followMembers } from './members.ts'
import { ConfigKey, offerNetworkConfig } from './network_config/config_key.ts'
import { acquire, republish } from './own_key/acquire.ts'
import type { Claim } from './own_key/claim.ts'
import { HeldClaim } from './own_key/held_claim.ts'
import { Keeper } from './own_key/keep.ts'
import type { EtcdContext } from './records/context.ts'
import { Grants } from './records/grants.ts'
import type { TableListing } from './records/table_listing.ts'
import { release, reserve } from './reserve.ts'

/** flannel's leases in etcd v3: `<prefix>/config` and `<prefix>/subnets/<key>`, each with an etcd lease. */
export function openEtcdStore(options: EtcdOptions, log: Log, tuning: Partial<EtcdTuning> = {}) {
  return new EtcdLeaseStore(options, log, { ...defaultTuning, ...tuning })
}

export class EtcdLeaseStore implements LeaseStore, Reservations {
  readonly #options: EtcdOptions
  readonly #ctx: EtcdContext
  #held: HeldClaim | undefined
  readonly #claims = new Map<string, Claim>()
  readonly #config: ConfigKey
  /** The listing that our subnet was chosen from, until the first table begins with it. */
  #listing: TableListing | undefined
  #isWatched = false

  constructor(options: EtcdOptions, log: Log, tuning: EtcdTuning) {
    this.#options = options
    const client = new EtcdClient(options, tuning, log)
    client.onReset = (before, after) => this.#reset(before, after)
    this.#ctx = {
      client,
      retrier: openRetrier(client.endpoints.length, tuning, log),
      tuning,
      log,
      lastSeen: new LastSeen(options, tuning, log),
      grants: new Grants(client, tuning),
      conflicts: new Map(),
      onLease: () => {},
      onGone: () => {},
      onReset: new Set(),
      configKey: `${options.prefix}/config`,
      folder: `${options.prefix}/subnets/`,
    }
    this.#config = new ConfigKey(this.#ctx, options)
    if (options.proxy) log.info({}, `etcd is asked through the proxy ${new URL(options.proxy).host}`)
  }

  async networkConfig(signal: AbortSignal, demands: ConfigDemands = {}): Promise<NetworkConfig> {
    await this.#load()
    return this.#config.wait(signal, demands)
  }

  async offerNetworkConfig(text: string, signal: AbortSignal): Promise<string | undefined> {
    await this.#load()
    const offered = this.#ctx.lastSeen.networkConfig ?? text
    return (await offerNetworkConfig(this.#ctx, offered, signal)) ? offered : undefined
  }

  reserve(subnets: readonly Prefix[], publicIps: readonly Ip[], signal: AbortSignal): Promise<Reserved> {
    return reserve(this.#ctx, subnets, publicIps, signal)
  }

  release(subnets: readonly Prefix[], signal: AbortSignal): Promise<Released> {
    return release(this.#ctx, subnets, signal)
  }

  async acquire(request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    await this.#load()
    const { held } = request
    const running = held && this.#claims.get(held.node)
    const claim = running
      ? { ...running, ...republish(this.#ctx, request, running.kv, held), confirmed: running.confirmed }
      : await acquire(this.#ctx, request, listing => this.#keepListing(listing), signal)
    this.#claims.set(claim.lease.node, claim)
    if (claim.confirmed && !running) this.#ctx.lastSeen.sawOwn(claim.kv)
    return claim.lease
  }

  async keep(lease: Lease, signal: AbortSignal, onKept: () => void = () => {}): Promise<void> {
    const claim = this.#claims.get(lease.node)
    if (!claim) throw new Error(`Cannot keep ${lease.node}: this store did not acquire it`)
    const held = new HeldClaim(this.#ctx, claim, this.#options.renewMarginMs)
    this.#held = held
    try {
      await new Keeper(this.#ctx, held, onKept).run(signal)
    } finally {
      this.#claims.set(lease.node, held.claim)
    }
  }

  async *watch(signal: AbortSignal): AsyncGenerator<LeaseTableChange, never, undefined> {
    await this.#load()
    const table = new LiveTable(this.#config.running)
    const stop = new AbortController()
    const following = Promise.all([
      new Follower(this.#ctx, table, this.#takeListing()).run(stop.signal),
      this.#config.follow(stop.signal),
      ...(this.#options.joinSecret === undefined ? [] : [followMembers(this.#ctx, stop.signal)]),
    ]).catch(error => table.fail(error))
    try {
      return yield* table.watch(signal)
    } finally {
      stop.abort()
      await following
    }
  }

  /** Only the first table can begin with it: later tables are newer. */
  #keepListing(listing: TableListing): void {
    if (!this.#isWatched) this.#listing = listing
  }

  #takeListing(): TableListing | undefined {
    const listing = this.#listing
    this.#listing = undefined
    this.#isWatched = true
    return listing
  }

  leaseTimes(signal: AbortSignal): Promise<ReadonlyMap<string, LeaseTimes>> {
    return leaseTimes(this.#ctx, signal)
  }

  reconnect(): void {
    this.#ctx.client.reconnect()
  }

  get endpoints(): readonly string[] {
    return this.#ctx.client.endpoints
  }

  health(): StoreHealth {
    const { client, retrier, conflicts } = this.#ctx
    const { trouble, troubleMs } = retrier
    const conflict = conflicts.size === 0 ? undefined : [...conflicts.values()].join('; ')
    return {
      lastContactMs: client.lastContactMs,
      trouble,
      troubleMs,
      conflict,
      notice: this.#config.notice,
      failures: retrier.failures,
      watchRestarts: retrier.restarts,
      reconnects: client.reconnects,
      leaseEndsAtMs: this.#held?.endsAtMs,
    }
  }

  async close(): Promise<void> {
    this.#ctx.client.close()
    await this.#ctx.lastSeen.close()
  }

  async #load(): Promise<void> {
    await this.#ctx.lastSeen.load()
    this.#ctx.client.known ??= this.#ctx.lastSeen.at
    this.#ctx.client.learn(this.#ctx.lastSeen.endpoints)
  }

  /** etcd has lost its data: keeps the known peers for the grace period, or until they register again. */
  #reset(before: Head, after: Head): void {
    const { lastSeen, tuning, log, onReset } = this.#ctx
    this.#listing = undefined
    const peers = lastSeen.storeWasReset()
    log.error(
      { before, after, peers },
      `etcd has lost its data: ${lossOf(before, after)}. Claiming our lease again, keeping ${peers} leases for ` +
        `${tuning.graceMs / 3600_000} h unless they come back changed`,
    )
    for (const tell of onReset) tell()
  }
}

function lossOf(before: Head, after: Head): string {
  if (before.clusterId !== after.clusterId)
    return `its cluster is ${after.clusterId} and was ${before.clusterId}`
  return after.revision < before.revision
    ? `its revision went back from ${before.revision} to ${after.revision}`
    : `what it holds from before revision ${before.revision} is not what it held then: an older snapshot was restored`
}
