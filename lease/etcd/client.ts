import type { EtcdOptions } from '../options.ts'
import { Connection } from './connection.ts'
import { EtcdError, etcdError } from './error.ts'
import type { KeyRange, Listing, Outcome, Transaction, WatchBatch } from './keys.ts'
import type { EtcdTuning } from './tuning.ts'

/**
 * Calls to one etcd cluster. Each is tried once, with a deadline, against one endpoint; what fails rejects with EtcdError,
 * and the next call makes a fresh connection to the next endpoint, with TLS files read again and a token asked for again.
 * The order of the endpoints is random, so that many nodes spread over them.
 */
export class EtcdClient {
  readonly endpoints: readonly string[]
  readonly #options: EtcdOptions
  readonly #tuning: EtcdTuning
  readonly #open = new Set<Connection>()
  #at = 0
  #connection: Promise<Connection> | undefined
  #closed = false
  /** Date of the last answer, in Unix ms. */
  lastContactMs: number | undefined
  /** Calls and streams begun so far; what a test counts while etcd is away. */
  calls = 0

  constructor(options: EtcdOptions, tuning: EtcdTuning) {
    this.#options = options
    this.#tuning = tuning
    this.endpoints = shuffled(options.endpoints.map(normalEndpoint), tuning.random)
  }

  range(range: KeyRange, signal: AbortSignal): Promise<Listing> {
    return this.#call(connection => connection.range(range), signal)
  }

  commit(transaction: Transaction, signal: AbortSignal): Promise<Outcome> {
    return this.#call(connection => connection.commit(transaction), signal)
  }

  /** Resolves to the id of a new etcd lease. */
  grant(ttlSeconds: number, signal: AbortSignal): Promise<string> {
    return this.#call(connection => connection.grant(ttlSeconds), signal)
  }

  /** Removes the etcd lease with every key that is attached to it. */
  revoke(leaseId: string, signal: AbortSignal): Promise<void> {
    return this.#call(connection => connection.revoke(leaseId), signal)
  }

  /** See Connection.watch. Throws EtcdError, kind `compacted` where the revision is gone, or the signal's reason. */
  async *watch(range: KeyRange, fromRevision: number, signal: AbortSignal): AsyncGenerator<WatchBatch> {
    const connection = await this.#connect(signal)
    try {
      for await (const batch of connection.watch(range, fromRevision, signal)) {
        this.lastContactMs = this.#tuning.clock.date()
        yield batch
      }
    } catch (error) {
      throw this.#failed(connection, error, signal)
    }
  }

  close(): void {
    this.#closed = true
    for (const connection of this.#open) connection.end()
    this.#open.clear()
  }

  async #call<T>(act: (connection: Connection) => Promise<T>, signal: AbortSignal): Promise<T> {
    const connection = await this.#connect(signal)
    try {
      const answer = await untilAborted(act(connection), signal)
      this.lastContactMs = this.#tuning.clock.date()
      return answer
    } catch (error) {
      throw this.#failed(connection, error, signal)
    }
  }

  async #connect(signal: AbortSignal): Promise<Connection> {
    signal.throwIfAborted()
    this.calls++
    const endpoint = this.endpoints[this.#at] ?? ''
    if (this.#closed) throw new EtcdError('closed', endpoint, 'the store was closed')
    this.#connection ??= this.#openConnection(endpoint)
    return untilAborted(this.#connection, signal)
  }

  async #openConnection(endpoint: string): Promise<Connection> {
    try {
      const connection = await Connection.open(endpoint, this.#options, this.#tuning)
      this.#open.add(connection)
      return connection
    } catch (error) {
      this.#connection = undefined
      throw etcdError(error, endpoint)
    }
  }

  /** What runs on the connection goes on: a slow answer is no reason to break a watch and list 5,000 leases again. */
  #failed(connection: Connection, error: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason
    if (this.#closed) return new EtcdError('closed', connection.endpoint, 'the store was closed')
    if (!this.#retired.has(connection)) {
      this.#retired.add(connection)
      connection.retire()
      this.#connection = undefined
      this.#at = (this.#at + 1) % this.endpoints.length
    }
    for (const old of this.#open) if (this.#retired.has(old) && old.running === 0) this.#open.delete(old)
    return etcdError(error, connection.endpoint)
  }
  readonly #retired = new WeakSet<Connection>()
}

/** flanneld's users write `http://host:2379/`; gRPC wants no path. */
export function normalEndpoint(endpoint: string): string {
  return endpoint.trim().replace(/\/+$/, '')
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map(item => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

/** The call itself runs into its deadline; only the waiting ends. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
