import type { Lease, LeaseTableChange } from '../lease.ts'
import type { Log } from '../log.ts'
import type { NetworkConfig } from '../network_config.ts'
import type { EtcdOptions } from '../options.ts'
import type { LeaseRequest, LeaseStore, StoreHealth } from '../store.ts'
import { LiveTable } from '../table.ts'
import { acquire } from './acquire.ts'
import { type Claim, Grants } from './claim.ts'
import { EtcdClient } from './client.ts'
import type { EtcdContext } from './context.ts'
import { Follower } from './follow.ts'
import { Keeper } from './keep.ts'
import { networkConfig, offerNetworkConfig } from './network.ts'
import { Patience } from './patience.ts'
import { defaultTuning, type EtcdTuning } from './tuning.ts'

/** flannel's leases in etcd v3: `<prefix>/config` and `<prefix>/subnets/<key>`, each key with an etcd lease of its own. */
export function openEtcdStore(
  options: EtcdOptions,
  log: Log,
  tuning: Partial<EtcdTuning> = {},
): EtcdLeaseStore {
  return new EtcdLeaseStore(options, log, { ...defaultTuning, ...tuning })
}

export class EtcdLeaseStore implements LeaseStore {
  readonly #options: EtcdOptions
  readonly #ctx: EtcdContext
  readonly #grants = new Grants()
  readonly #claims = new Map<string, Claim>()

  constructor(options: EtcdOptions, log: Log, tuning: EtcdTuning) {
    this.#options = options
    this.#ctx = {
      client: new EtcdClient(options, tuning),
      patience: new Patience(tuning, log),
      tuning,
      log,
      folder: `${options.prefix}/subnets/`,
    }
  }

  networkConfig(signal: AbortSignal): Promise<NetworkConfig> {
    return networkConfig(this.#ctx, this.#options, signal)
  }

  /** Stores a network config where there is none. Resolves to whether it was stored. */
  offerNetworkConfig(text: string, signal: AbortSignal): Promise<boolean> {
    return offerNetworkConfig(this.#ctx, this.#options, text, signal)
  }

  async acquire(request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    const claim = await acquire(this.#ctx, this.#grants, request, signal)
    this.#claims.set(claim.lease.node, claim)
    return claim.lease
  }

  async keep(lease: Lease, signal: AbortSignal): Promise<void> {
    const claim = this.#claims.get(lease.node)
    if (!claim) throw new Error(`Cannot keep ${lease.node}: this store did not acquire it`)
    const keeper = new Keeper(this.#ctx, this.#grants, claim, this.#options.renewMarginMs)
    try {
      await keeper.run(signal)
    } finally {
      this.#claims.set(lease.node, keeper.claim)
    }
  }

  async *watch(signal: AbortSignal): AsyncGenerator<LeaseTableChange, never, undefined> {
    const table = new LiveTable()
    const stop = new AbortController()
    const following = new Follower(this.#ctx, table).run(stop.signal).catch(error => table.fail(error))
    try {
      return yield* table.watch(signal)
    } finally {
      stop.abort()
      await following
    }
  }

  health(): StoreHealth {
    return { lastContactMs: this.#ctx.client.lastContactMs, trouble: this.#ctx.patience.trouble }
  }

  /** Calls and streams begun so far. */
  get calls(): number {
    return this.#ctx.client.calls
  }

  close(): Promise<void> {
    this.#ctx.client.close()
    return Promise.resolve()
  }
}
