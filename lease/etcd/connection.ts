import type { EtcdOptions } from '../options.ts'
import { Calls } from './calls.ts'
import { readCredentials } from './credentials.ts'
import type { Head, KeyRange, Listing, Outcome, Transaction, WatchBatch } from './keys.ts'
import { changeOp, compare, head, keyValue, rangeBytes, watchBatch } from './messages.ts'
import { readPages } from './pages.ts'
import type { EtcdTuning } from './tuning.ts'

/** What the store asks of one host, with one reading of the TLS files. Any error makes it worthless: open another. */
export class Connection {
  readonly endpoint: string
  readonly #calls: Calls
  readonly #timeoutMs: number

  static async open(endpoint: string, options: EtcdOptions, tuning: EtcdTuning): Promise<Connection> {
    const credentials = await readCredentials(endpoint, options)
    return new Connection(endpoint, new Calls(endpoint, options, tuning, credentials), tuning.callTimeoutMs)
  }

  private constructor(endpoint: string, calls: Calls, timeoutMs: number) {
    this.endpoint = endpoint
    this.#calls = calls
    this.#timeoutMs = timeoutMs
  }

  async range(range: KeyRange): Promise<Listing> {
    return await readPages(async ({ from, limit, revision, keysOnly }) => {
      const where = { ...rangeBytes(range), ...(from && { key: from }) }
      const answer = await this.#calls.kv.range({ ...where, limit, revision, keys_only: keysOnly })
      const last = answer.more ? answer.kvs.at(-1)?.key : undefined
      return { ...head(answer.header), kvs: answer.kvs.map(keyValue), last }
    })
  }

  /** One key as it stood at that revision. */
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
        },
      })
    const answer = await this.#calls.kv.txn({ compare: conditions.map(compare), success })
    const created = (createdSince && answer.responses.at(-1)?.response_range?.kvs) ?? []
    return { ...head(answer.header), held: answer.succeeded, created: created.map(keyValue) }
  }

  async grant(ttlSeconds: number): Promise<string> {
    return (await this.#calls.lease.leaseGrant({ TTL: ttlSeconds })).ID
  }

  /** One that is gone already is a success. */
  async revoke(leaseId: string): Promise<void> {
    await this.#calls.lease.leaseRevoke({ ID: leaseId }).catch((error: unknown) => {
      if (!/lease not found/.test(String(error))) throw error
    })
  }

  /**
   * What happens to the keys from that revision on; the first batch is empty and says that the watch stands. Ends by
   * throwing. Nothing piles up here where it is read slowly: gRPC's flow control leaves the rest with the server.
   */
  async *watch(range: KeyRange, fromRevision: number, signal: AbortSignal): AsyncGenerator<WatchBatch> {
    const stream = await this.#calls.openWatch()
    const cancel = () => stream.cancel()
    signal.addEventListener('abort', cancel)
    if (signal.aborted) cancel()
    const release = this.#calls.hold(stream)
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
      signal.removeEventListener('abort', cancel)
      release()
      stream.on('error', () => {}) // cancelling is reported as an error, when nobody reads any more
      stream.cancel()
    }
  }

  /** Calls and streams that still run. */
  get running(): number {
    return this.#calls.running
  }

  /** Lets what runs go on and takes nothing new. */
  retire(): void {
    this.#calls.close()
  }

  /** Ends what runs, too. */
  end(): void {
    this.#calls.cancel()
    this.#calls.close()
  }
}
