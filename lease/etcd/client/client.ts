import type { Log } from '../../common/log.ts'
import type { EtcdOptions } from '../../options.ts'
import { Connection } from './connection.ts'
import { Endpoints } from './endpoint.ts'
import { EtcdError, etcdError, silentTrouble } from './error.ts'
import type { Head, KeyRange, KeyValue, Listing, Outcome, Transaction, WatchBatch } from './keys.ts'
import type { EtcdTuning } from './tuning.ts'

type Act<T> = (connection: Connection) => Promise<T>

/**
 * Calls to one etcd cluster, each tried once, with a deadline, at one endpoint. After a failure, EtcdError,
 * the next call uses the next endpoint, reads the TLS files again and asks for a new token.
 */
export class EtcdClient {
  readonly #endpoints: Endpoints
  readonly #options: EtcdOptions
  readonly #tuning: EtcdTuning
  readonly #log: Log
  readonly #open = new Set<Connection>()
  #connection: Promise<Connection> | undefined
  #closed = false
  /** Counts the resets, so that concurrent calls report each one only once. */
  #epoch = 0
  lastContactMs: number | undefined
  /** Connections made so far. */
  #connections = 0
  /** The newest state of the store in any answer. */
  known: Head | undefined
  /**
   * Called before an answer of another store is returned: its cluster id differs, or its revision went back.
   * A cluster recreated with the same token and URLs has the same id (server/membership).
   */
  onReset: (before: Head, after: Head) => void = () => {}

  constructor(options: EtcdOptions, tuning: EtcdTuning, log: Log) {
    this.#options = options
    this.#tuning = tuning
    this.#log = log
    this.#endpoints = new Endpoints(options.endpoints, tuning.random)
  }

  get endpoints(): readonly string[] {
    return this.#endpoints.all
  }

  get endpoint(): string {
    return this.#endpoints.current
  }

  /** Connections made after the first one. */
  get reconnects(): number {
    return Math.max(0, this.#connections - 1)
  }

  learn(endpoints: readonly string[]): void {
    this.#endpoints.learn(endpoints)
  }

  /** Whether the store lost its data since this client, or the cache before it, first knew it. */
  get wasReset(): boolean {
    return this.#epoch > 0
  }

  range(range: KeyRange, signal: AbortSignal): Promise<Listing> {
    return this.rangeAs(range, kv => kv, signal)
  }

  /** All keys, each converted by `read`. Values are foreign and large: keep only what `read` needs. */
  rangeAs<T>(range: KeyRange, read: (kv: KeyValue) => T, signal: AbortSignal): Promise<Listing<T>> {
    return this.#tracked(connection => connection.range(range, read), signal)
  }

  /** The key at that revision. Rejects with EtcdError, kind `compacted` where it is gone. */
  keyAt(key: string, revision: number, signal: AbortSignal): Promise<Listing> {
    return this.#tracked(connection => connection.keyAt(key, revision), signal)
  }

  /** The store's revision, at little cost. `range`: any keys that this node may read. */
  async head(range: KeyRange, signal: AbortSignal): Promise<Head> {
    return this.#tracked(connection => connection.head(range), signal)
  }

  commit(transaction: Transaction, signal: AbortSignal): Promise<Outcome> {
    return this.#tracked(connection => connection.commit(transaction), signal)
  }

  grant(ttlSeconds: number, signal: AbortSignal): Promise<string> {
    return this.#call(connection => connection.grant(ttlSeconds), signal)
  }

  admin<T>(act: (calls: Connection['admin']) => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.#call(connection => act(connection.admin), signal)
  }

  timeToLive(leaseId: string, signal: AbortSignal): ReturnType<Connection['timeToLive']> {
    return this.#call(connection => connection.timeToLive(leaseId), signal)
  }

  /** Removes the etcd lease with every key that is attached to it. */
  revoke(leaseId: string, signal: AbortSignal): Promise<void> {
    return this.#call(connection => connection.revoke(leaseId), signal)
  }

  /**
   * As Connection.watch, and continues after `reconnect` or an expired token. Throws EtcdError (`compacted`:
   * the revision is gone), or the signal's reason.
   */
  async *watch(range: KeyRange, fromRevision: number, signal: AbortSignal): AsyncGenerator<WatchBatch> {
    let isOver = silentTrouble()
    for (let next = fromRevision; ; ) {
      const connection = await this.#connect(signal)
      try {
        for await (const batch of connection.watch(range, next, signal)) {
          isOver = silentTrouble()
          this.#heard(batch, next)
          if (next > 0 && batch.through > 0) next = batch.through + 1
          yield batch
        }
      } catch (error) {
        const failure = this.#failed(connection, error, signal)
        if (!isOver(failure)) throw failure
      }
    }
  }

  async *snapshot(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const connection = await this.#connect(signal)
    try {
      yield* connection.snapshot(signal)
    } catch (error) {
      throw this.#failed(connection, error, signal)
    }
  }

  #heard({ clusterId, revision, through }: WatchBatch, fromRevision: number): void {
    this.lastContactMs = this.#tuning.clock.date()
    // The first batch shows a member that is behind or was restored, which would otherwise stay silent.
    if (through === 0 && revision < fromRevision - 1)
      throw new Error(`it is at revision ${revision}, and ${fromRevision - 1} was known`)
    if (clusterId === this.known?.clusterId && revision > this.known.revision)
      this.known = { clusterId, revision }
  }

  /** Call when the keys show another history than the known one, although the revision is as high. */
  foundOtherHistory(): void {
    const { known } = this
    if (known === undefined) return
    this.#epoch++
    this.onReset(known, known)
  }

  /** Ends all open connections; the next call connects again. */
  reconnect(): void {
    for (const connection of this.#open) connection.end()
    this.#open.clear()
    this.#connection = undefined
  }

  close(): void {
    this.#closed = true
    this.reconnect()
  }

  /** For linearizable calls, whose answers are never older than the state known before the call. */
  async #tracked<T extends Head>(act: Act<T>, signal: AbortSignal): Promise<T> {
    const [before, epoch] = [this.known, this.#epoch]
    const answer = await this.#call(act, signal)
    const { clusterId, revision } = answer
    const isOther = before && (clusterId !== before.clusterId || revision < before.revision)
    if (before && isOther && epoch === this.#epoch) {
      this.#epoch++
      this.known = { clusterId, revision }
      this.onReset(before, this.known)
    } else if (!isOther && revision >= (this.known?.revision ?? 0)) this.known = { clusterId, revision }
    return answer
  }

  async #call<T>(act: Act<T>, signal: AbortSignal): Promise<T> {
    for (const isOver = silentTrouble(); ; ) {
      const connection = await this.#connect(signal)
      try {
        const answer = await untilAborted(act(connection), signal)
        this.lastContactMs = this.#tuning.clock.date()
        return answer
      } catch (error) {
        const failure = this.#failed(connection, error, signal)
        if (!isOver(failure)) throw failure
      }
    }
  }

  async #connect(signal: AbortSignal): Promise<Connection> {
    signal.throwIfAborted()
    const { endpoint } = this
    if (this.#closed) throw new EtcdError('closed', endpoint, 'the store was closed')
    this.#connection ??= this.#openConnection(endpoint)
    return untilAborted(this.#connection, signal)
  }

  async #openConnection(endpoint: string): Promise<Connection> {
    try {
      const connection = await Connection.open(endpoint, this.#options, this.#tuning, this.#log)
      this.#open.add(connection)
      this.#connections++
      return connection
    } catch (error) {
      this.#connection = undefined
      throw etcdError(error, endpoint)
    }
  }

  /** Running streams stay open: a slow answer must not break a watch and make it list 5,000 leases again. */
  #failed(connection: Connection, error: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason
    if (this.#closed) return new EtcdError('closed', connection.endpoint, 'the store was closed')
    if (connection.state === 'ended')
      return new EtcdError('ended', connection.endpoint, 'the connection is made again')
    if (connection.state === 'open') {
      connection.retire()
      this.#connection = undefined
      this.#endpoints.next()
    }
    for (const old of this.#open) if (old.state === 'retired' && old.running === 0) this.#open.delete(old)
    return etcdError(error, connection.endpoint)
  }
}

/** Rejects when the signal aborts. The call itself runs on to its deadline or its connection's end. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  promise.catch(() => {})
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
