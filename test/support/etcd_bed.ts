import type { EtcdTuning } from '../../lease/etcd/client/tuning.ts'
import type { EtcdOptions } from '../../lease/options.ts'
import type { StoreBed } from '../contract/lease_store.ts'
import { type CountedStore, openCountedStore } from './counted_store.ts'
import type { EtcdServer } from './etcd.ts'
import { RecordingLog } from './log.ts'

/** Options of a node of the network `prefix`; everything else has its default. */
export function etcdOptions(
  endpoints: readonly string[],
  prefix: string,
  more: Partial<EtcdOptions> = {},
): EtcdOptions {
  return {
    kind: 'etcd',
    endpoints,
    prefix,
    caFile: undefined,
    certFile: undefined,
    keyFile: undefined,
    username: undefined,
    password: undefined,
    renewMarginMs: 3600_000,
    cacheFile: undefined,
    ...more,
  }
}

/**
 * Retries, checks and searches take tenths of a second: for tests that do not measure them. Calls have as
 * much time as on a busy machine: a slow one would be a trouble, and a log line.
 */
export const fastTuning: Partial<EtcdTuning> = {
  callTimeoutMs: 10_000,
  firstRetryMs: 50,
  lastRetryMs: 400,
  sayAfterMs: 0,
  checkMs: 1_000,
  relistAfterBreakMs: 300,
  refusedRetryMs: 200,
  askMs: 150,
}

/**
 * Nodes of one network of a running etcd; each bed has a prefix of its own, so that many share one server.
 */
export class EtcdBed implements StoreBed {
  readonly server: EtcdServer
  readonly prefix: string
  readonly log = new RecordingLog()
  readonly #tuning: Partial<EtcdTuning>
  readonly #options: Partial<EtcdOptions>
  readonly #stores: CountedStore[] = []
  static #beds = 0

  constructor(
    server: EtcdServer,
    tuning: Partial<EtcdTuning> = fastTuning,
    options: Partial<EtcdOptions> = {},
  ) {
    this.server = server
    this.prefix = `/twill-test/${++EtcdBed.#beds}`
    this.#tuning = tuning
    this.#options = options
  }

  openNode(options: Partial<EtcdOptions> = {}, tuning: Partial<EtcdTuning> = {}): CountedStore {
    const all = etcdOptions(this.server.endpoints, this.prefix, { ...this.#options, ...options })
    const store = openCountedStore(all, this.log, { ...this.#tuning, ...tuning })
    this.#stores.push(store)
    return store
  }

  async writeConfig(text: string): Promise<void> {
    await this.server.ctl('put', `${this.prefix}/config`, text)
  }

  async removeLease(node: string): Promise<void> {
    await this.server.ctl('del', this.key(node))
  }

  async writeLease(node: string, value: string, ...flags: readonly string[]): Promise<void> {
    await this.server.ctl('put', ...flags, this.key(node), value)
  }

  key(node: string): string {
    return `${this.prefix}/subnets/${node}`
  }

  /** All subnet keys, without the folder. */
  async keys(): Promise<readonly string[]> {
    const text = await this.server.ctl('get', '--prefix', '--keys-only', this.key(''))
    return text
      .split('\n')
      .filter(line => line !== '')
      .map(line => line.slice(this.key('').length))
  }

  async fail(): Promise<void> {
    await this.server.stop('SIGKILL')
  }

  async recover(): Promise<void> {
    await this.server.restart()
  }

  async close(): Promise<void> {
    await Promise.all(this.#stores.map(store => store.close()))
  }
}
