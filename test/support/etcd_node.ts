import { setMaxListeners } from 'node:events'
import type { EtcdTuning } from '../../lease/etcd/client/tuning.ts'
import type { Lease } from '../../lease/lease.ts'
import { parsePrefix } from '../../lease/net/prefix.ts'
import type { EtcdOptions } from '../../lease/options.ts'
import { follow, requestOf } from '../contract/lease_store.ts'
import type { CountedStore } from './counted_store.ts'
import type { EtcdBed } from './etcd_bed.ts'

/** One node that uses its store as an agent does: claims, keeps and watches at the same time. */
export class EtcdNode {
  readonly number: number
  readonly store: CountedStore
  lease: Lease | undefined
  /** The error that `keep` rejected with. */
  lost: unknown
  tables: ReturnType<typeof follow> | undefined
  readonly #stop = new AbortController()

  constructor(
    bed: EtcdBed,
    number: number,
    options: Partial<EtcdOptions> = {},
    tuning: Partial<EtcdTuning> = {},
  ) {
    setMaxListeners(0, this.#stop.signal)
    this.number = number
    this.store = bed.openNode(options, tuning)
  }

  /** Resolves once the node has its lease and the first table. */
  async start(...previous: readonly string[]): Promise<this> {
    const { signal } = this.#stop
    const network = await this.store.networkConfig(signal)
    const request = { ...requestOf(this.number, network), previousSubnets: previous.map(parsePrefix) }
    this.lease = await this.store.acquire(request, signal)
    this.keep()
    this.tables = follow(this.store, signal)
    await this.tables.until(() => true)
    return this
  }

  keep(): void {
    if (!this.lease) throw new Error('nothing to keep yet')
    this.lost = undefined
    this.store.keep(this.lease, this.#stop.signal).catch(error => {
      this.lost = error
    })
  }

  /** Names of all nodes in its table, sorted. */
  get known(): readonly string[] {
    return [...(this.tables?.table.keys() ?? [])].sort()
  }

  /** Ends as a process does in an orderly stop: the cache is written. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('the node stops'))
    await this.store.close()
  }
}
