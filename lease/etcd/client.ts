import type { EtcdOptions } from '../options.ts'
import { Connection } from './connection.ts'
import { normalEndpoint } from './endpoint.ts'
import { EtcdError, etcdError } from './error.ts'
import type { Head, KeyRange, Listing, Outcome, Transaction, WatchBatch } from './keys.ts'
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
  readonly #retired = new WeakSet<Connection>()
  readonly #ended = new WeakSet<Connection>()
  #at = 0
  #connection: Promise<Connection> | undefined
  #closed = false
  /** Counts the resets, so that calls that ran side by side tell of one once. */
  #epoch = 0
  /** Date of the last answer, in Unix ms. */
  lastContactMs: number | undefined
  /** Connections made after the first one. */
  reconnects = -1
  /** Calls and streams begun so far; what a test counts while etcd is away. */
  calls = 0
  /** The newest state of the store that any answer told of. */
  known: Head | undefined
  /**
   * Told before an answer is handed out that cannot come from the store that gave the earlier ones: its cluster is another
   * one, or its revision is lower than one known before the call was made. A cluster that is set up again with the same
   * token and URLs has the same id (server/membership, computed from those), so the revision is what mostly shows it.
   */
  onReset: (before: Head, after: Head) => void = () => {}

  constructor(options: EtcdOptions, tuning: EtcdTuning) {
    this.#options = options
    this.#tuning = tuning
    this.endpoints = shuffled(options.endpoints.map(normalEndpoint), tuning.random)
  }

  /** The one that the next call goes to. */
  get endpoint(): string {
    return this.endpoints[this.#at] ?? ''
  }

  /** Whether the store has lost what it knew since this client, or the cache before it, first heard of it. */
  get wasReset(): boolean {
    return this.#epoch > 0
  }

  range(range: KeyRange, signal: AbortSignal): Promise<Listing> {
    return this.#tracked(connection => connection.range(range), signal)
  }

  /** As it stood at that revision. Rejects with EtcdError, kind `compacted` where that is gone. */
  keyAt(key: string, revision: number, signal: AbortSignal): Promise<Listing> {
    return this.#tracked(connection => connection.keyAt(key, revision), signal)
  }

  /** How far the store has come, for next to nothing; asked over keys that we may read. */
  async head(range: KeyRange, signal: AbortSignal): Promise<Head> {
    return this.#tracked(connection => connection.head(range), signal)
  }

  commit(transaction: Transaction, signal: AbortSignal): Promise<Outcome> {
    return this.#tracked(connection => connection.commit(transaction), signal)
  }

  /** Resolves to the id of a new etcd lease. */
  grant(ttlSeconds: number, signal: AbortSignal): Promise<string> {
    return this.#call(connection => connection.grant(ttlSeconds), signal)
  }

  /** Removes the etcd lease with every key that is attached to it. */
  revoke(leaseId: string, signal: AbortSignal): Promise<void> {
    return this.#call(connection => connection.revoke(leaseId), signal)
  }

  /**
   * See Connection.watch; goes on where `reconnect` ended it. Throws EtcdError, kind `compacted` where the revision is gone, or
   * the signal's reason.
   */
  async *watch(range: KeyRange, fromRevision: number, signal: AbortSignal): AsyncGenerator<WatchBatch> {
    for (let next = fromRevision; ; ) {
      const connection = await this.#connect(signal)
      try {
        for await (const batch of connection.watch(range, next, signal)) {
          this.#heard(batch, next)
          if (next > 0 && batch.through > 0) next = batch.through + 1
          yield batch
        }
      } catch (error) {
        const failure = this.#failed(connection, error, signal)
        if (!(failure instanceof EtcdError) || failure.kind !== 'ended') throw failure
      }
    }
  }

  #heard({ clusterId, revision, through }: WatchBatch, fromRevision: number): void {
    this.lastContactMs = this.#tuning.clock.date()
    // The first batch tells how far that member is: one that is behind, or was restored meanwhile, would be silent.
    if (through === 0 && revision < fromRevision - 1)
      throw new Error(`it is at revision ${revision}, and ${fromRevision - 1} was known`)
    if (clusterId === this.known?.clusterId && revision > this.known.revision)
      this.known = { clusterId, revision }
  }

  /** Another history than the one that this client knows was found by what it holds, though its revision is as high. */
  foundOtherHistory(): void {
    const { known } = this
    if (known === undefined) return
    this.#epoch++
    this.onReset(known, known)
  }

  /** Ends what is open; the next call connects anew. */
  reconnect(): void {
    for (const connection of this.#open) {
      this.#retired.add(connection)
      this.#ended.add(connection)
      connection.end()
    }
    this.#open.clear()
    this.#connection = undefined
  }

  close(): void {
    this.#closed = true
    this.reconnect()
  }

  /** For linearizable calls: they never tell of less than what was known when they were made. */
  async #tracked<T extends Head>(
    act: (connection: Connection) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
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

  async #call<T>(act: (connection: Connection) => Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      return await this.#callOnce(act, signal)
    } catch (error) {
      // A token's time was over, or we ended the connection: trying once more is no trouble worth a word.
      const isOver = error instanceof EtcdError && (error.kind === 'token' || error.kind === 'ended')
      if (!isOver) throw error
      return this.#callOnce(act, signal)
    }
  }

  async #callOnce<T>(act: (connection: Connection) => Promise<T>, signal: AbortSignal): Promise<T> {
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
    const { endpoint } = this
    if (this.#closed) throw new EtcdError('closed', endpoint, 'the store was closed')
    this.#connection ??= this.#openConnection(endpoint)
    return untilAborted(this.#connection, signal)
  }

  async #openConnection(endpoint: string): Promise<Connection> {
    try {
      const connection = await Connection.open(endpoint, this.#options, this.#tuning)
      this.#open.add(connection)
      this.reconnects++
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
    if (this.#ended.has(connection))
      return new EtcdError('ended', connection.endpoint, 'the connection is made again')
    if (!this.#retired.has(connection)) {
      this.#retired.add(connection)
      connection.retire()
      this.#connection = undefined
      this.#at = (this.#at + 1) % this.endpoints.length
    }
    for (const old of this.#open) if (this.#retired.has(old) && old.running === 0) this.#open.delete(old)
    return etcdError(error, connection.endpoint)
  }
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map(item => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

/** The call itself runs into its deadline, or ends with its connection; only the waiting ends. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  promise.catch(() => {})
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
