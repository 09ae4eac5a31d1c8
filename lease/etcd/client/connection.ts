import type { Log } from '../../common/log.ts'
import type { EtcdOptions } from '../../options.ts'
import { Calls, type HeldStream } from './calls.ts'
import { readCredentials } from './credentials.ts'
import type { Head, KeyRange, KeyValue, Listing, Outcome, Transaction, WatchBatch } from './keys.ts'
import { changeOp, compare, head, keyValue, rangeBytes, watchBatch } from './messages.ts'
import { type PageRequest, readPages } from './pages.ts'
import type { EtcdTuning } from './tuning.ts'

/** The calls to one host, with the TLS files as read once. After any error it is useless: open another. */
export class Connection {
  readonly endpoint: string
  state: 'open' | 'retired' | 'ended' = 'open'
  readonly #calls: Calls
  readonly #timeoutMs: number

  static async open(
    endpoint: string,
    options: EtcdOptions,
    tuning: EtcdTuning,
    log: Log,
  ): Promise<Connection> {
    const credentials = await readCredentials(endpoint, options)
    const calls = new Calls(endpoint, options, tuning, credentials, log)
    return new Connection(endpoint, calls, tuning.callTimeoutMs)
  }

  private constructor(endpoint: string, calls: Calls, timeoutMs: number) {
    this.endpoint = endpoint
    this.#calls = calls
    this.#timeoutMs = timeoutMs
  }

  async range<T>(range: KeyRange, read: (kv: KeyValue) => T): Promise<Listing<T>> {
    const ask = async ({ from, limit, revision, keysOnly }: PageRequest) => {
      const where = { ...rangeBytes(range), ...(from && { key: from }) }
      const answer = await this.#calls.kv.range({ ...where, limit, revision, keys_only: keysOnly })
      const last = answer.more ? answer.kvs.at(-1)?.key : undefined
      const bytes = answer.kvs.reduce((sum, { value }) => sum + value.length, 0)
      return { ...head(answer.header), kvs: answer.kvs.map(keyValue), bytes, last }
    }
    return await readPages(ask, read)
  }

  async keyAt(key: string, revision: number): Promise<Listing> {
    const answer = await this.#calls.kv.range({ key: Buffer.from(key), revision })
    return { ...head(answer.header), kvs: answer.kvs.map(keyValue) }
  }

  async head(range: KeyRange): Promise<Head> {
    return head((await this.#calls.kv.range({ ...rangeBytes(range), count_only: true })).header)
  }

  async commit({ conditions, changes, createdSince }: Transaction): Promise<Outcome> {
    const success = changes.map(changeOp)
    if (createdSince)
      success.push({
        request_range: {
          ...rangeBytes(createdSince.range),
          min_create_revision: createdSince.revision + 1,
          keys_only: true,
        },
      })
    const answer = await this.#calls.kv.txn({ compare: conditions.map(compare), success })
    const created = (createdSince && answer.responses.at(-1)?.response_range?.kvs) ?? []
    return { ...head(answer.header), held: answer.succeeded, created: created.map(keyValue) }
  }

  async grant(ttlSeconds: number): Promise<string> {
    return (await this.#calls.lease.leaseGrant({ TTL: ttlSeconds })).ID
  }

  /** Seconds left: -1 where there is no such etcd lease. */
  async timeToLive(leaseId: string): Promise<{ grantedSeconds: number; leftSeconds: number }> {
    const answer = await this.#calls.lease.leaseTimeToLive({ ID: leaseId, keys: false })
    return { grantedSeconds: Number(answer.grantedTTL), leftSeconds: Number(answer.TTL) }
  }

  /** An etcd lease that is already gone counts as success. */
  async revoke(leaseId: string): Promise<void> {
    await this.#calls.lease.leaseRevoke({ ID: leaseId }).catch((error: unknown) => {
      if (!/lease not found/.test(String(error))) throw error
    })
  }

  /**
   * The changes from that revision on; the first batch is empty: the watch is established. Ends by throwing.
   * gRPC's flow control holds at the server what a slow reader has not read.
   */
  async *watch(range: KeyRange, fromRevision: number, signal: AbortSignal): AsyncGenerator<WatchBatch> {
    const stream = await this.#calls.openWatch()
    const release = this.#hold(stream, signal)
    const late = setTimeout(() => stream.destroy(new Error('no answer in time')), this.#timeoutMs)
    try {
      stream.write({
        create_request: {
          ...rangeBytes(range),
          start_revision: fromRevision,
          progress_notify: true,
          fragment: true,
        },
      })
      for await (const response of stream) {
        clearTimeout(late)
        yield watchBatch(response)
      }
      throw new Error('the server ended the watch')
    } finally {
      clearTimeout(late)
      release()
    }
  }

  async *snapshot(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const stream = await this.#calls.openSnapshot()
    const release = this.#hold(stream, signal)
    try {
      for await (const { blob } of stream) yield blob
    } finally {
      release()
    }
  }

  /** Cancels the stream when the signal aborts. Call the result when the reader has left. */
  #hold(stream: HeldStream, signal: AbortSignal): () => void {
    const cancel = () => stream.cancel()
    signal.addEventListener('abort', cancel)
    if (signal.aborted) cancel()
    const release = this.#calls.hold(stream)
    return () => {
      signal.removeEventListener('abort', cancel)
      release()
      stream.on('error', () => {}) // cancelling is reported as an error
      stream.cancel()
    }
  }

  get admin(): Pick<Calls, 'cluster' | 'maintenance' | 'kv'> {
    return this.#calls
  }

  get running(): number {
    return this.#calls.running
  }

  /** Accepts no new calls; running ones continue. */
  retire(): void {
    this.state = 'retired'
    this.#calls.close()
  }

  end(): void {
    this.state = 'ended'
    this.#calls.cancel()
    this.#calls.close()
  }
}
