/**
 * The only file that sees the etcd3 library. Of it are used the typed calls and the pool of one host. Its retries, circuit
 * breaker, watch manager, lease keeper and token cache are left out: each of them hides an answer that a lease depends on
 * (a watch that resumes at the wrong revision, calls that fail while etcd is back, a token that is never asked for again).
 */
import { noop } from 'cockatiel'
import {
  AuthClient,
  Etcd3,
  type ICallable,
  type ICompare,
  type IDuplexStream,
  type IKeyValue,
  type IRequestOp,
  type IResponseHeader,
  type IWatchRequest,
  type IWatchResponse,
  KVClient,
  LeaseClient,
} from 'etcd3'
import { MAX_LEASE_BYTES } from '../json.ts'
import type { EtcdOptions } from '../options.ts'
import { channelFactory } from './channel.ts'
import { type Credentials, readCredentials } from './credentials.ts'
import type {
  Change,
  Condition,
  Head,
  KeyRange,
  KeyValue,
  Listing,
  Outcome,
  Transaction,
  WatchBatch,
} from './keys.ts'
import { MAX_ANSWER_BYTES, readPages } from './pages.ts'
import type { EtcdTuning } from './tuning.ts'

/** Longer than any key of flannel's. */
const MAX_KEY_BYTES = 1_024

/** One host's channels, with one reading of the TLS files and one token. Any error makes it worthless: open another. */
export class Connection {
  readonly endpoint: string
  readonly #etcd: Channels
  readonly #login: Login | undefined
  readonly #timeoutMs: number
  readonly #running = new Set<{ cancel(): void }>()
  readonly #kv: KVClient
  readonly #lease: LeaseClient
  #token: Promise<string | undefined> | undefined

  static async open(endpoint: string, options: EtcdOptions, tuning: EtcdTuning): Promise<Connection> {
    const credentials = await readCredentials(endpoint, options)
    return new Connection(endpoint, options, tuning, credentials)
  }

  private constructor(endpoint: string, options: EtcdOptions, tuning: EtcdTuning, credentials: Credentials) {
    this.endpoint = endpoint
    this.#timeoutMs = tuning.callTimeoutMs
    this.#login =
      options.username === undefined
        ? undefined
        : { name: options.username, password: options.password ?? '' }
    this.#etcd = new Channels({
      hosts: [endpoint],
      grpcOptions: {
        channelFactoryOverride: channelFactory(endpoint, credentials),
        'grpc.keepalive_time_ms': tuning.keepaliveMs,
        'grpc.keepalive_timeout_ms': tuning.keepaliveTimeoutMs,
        'grpc.keepalive_permit_without_calls': 1,
        'grpc.initial_reconnect_backoff_ms': 200,
        'grpc.max_reconnect_backoff_ms': 2_000,
        'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
        // The variables of a host are for what it fetches from the internet; etcd is near.
        'grpc.enable_http_proxy': 0,
      },
      faultHandling: { host: () => noop, global: noop },
    })
    const callable = this.#callable()
    this.#kv = new KVClient(callable)
    this.#lease = new LeaseClient(callable)
  }

  async range(range: KeyRange): Promise<Listing> {
    return await readPages(async ({ from, limit, revision, keysOnly }) => {
      const where = { ...rangeBytes(range), ...(from && { key: from }) }
      const answer = await this.#kv.range({ ...where, limit, revision, keys_only: keysOnly })
      const last = answer.more ? answer.kvs.at(-1)?.key : undefined
      return { ...head(answer.header), kvs: answer.kvs.map(keyValue), last }
    })
  }

  /** One key as it stood at that revision. */
  async keyAt(key: string, revision: number): Promise<Listing> {
    const answer = await this.#kv.range({ key: Buffer.from(key), revision })
    return { ...head(answer.header), kvs: answer.kvs.map(keyValue) }
  }

  async head(range: KeyRange): Promise<Head> {
    return head((await this.#kv.range({ ...rangeBytes(range), count_only: true })).header)
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
    const answer = await this.#kv.txn({ compare: conditions.map(compare), success })
    const created = (createdSince && answer.responses.at(-1)?.response_range?.kvs) ?? []
    return { ...head(answer.header), held: answer.succeeded, created: created.map(keyValue) }
  }

  async grant(ttlSeconds: number): Promise<string> {
    return (await this.#lease.leaseGrant({ TTL: ttlSeconds })).ID
  }

  /** One that is gone already is a success. */
  async revoke(leaseId: string): Promise<void> {
    await this.#lease.leaseRevoke({ ID: leaseId }).catch((error: unknown) => {
      if (!/lease not found/.test(String(error))) throw error
    })
  }

  /**
   * What happens to the keys from that revision on; the first batch is empty and says that the watch stands. Ends by
   * throwing. Nothing piles up here where it is read slowly: gRPC's flow control leaves the rest with the server.
   */
  async *watch(range: KeyRange, fromRevision: number, signal: AbortSignal): AsyncGenerator<WatchBatch> {
    const stream = await this.#openWatch()
    const cancel = () => stream.cancel()
    signal.addEventListener('abort', cancel)
    if (signal.aborted) cancel()
    this.#running.add(stream)
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
      this.#running.delete(stream)
      stream.on('error', () => {}) // cancelling is reported as an error, when nobody reads any more
      stream.cancel()
    }
  }

  /** Calls and streams that still run. */
  get running(): number {
    return this.#running.size
  }

  /** Lets what runs go on and takes nothing new. */
  retire(): void {
    this.#etcd.close()
  }

  /** Ends what runs, too. */
  end(): void {
    for (const call of this.#running) call.cancel()
    this.#etcd.close()
  }

  /** Watching a member that has lost its leader would be silent for ever; with `hasleader` it ends the stream instead. */
  async #openWatch(): Promise<WatchStream> {
    const token = await this.#askToken()
    return this.#etcd.connections.withConnection('Watch', ({ client, metadata }) => {
      metadata.set('hasleader', 'true')
      if (token !== undefined) metadata.set('token', token)
      return (client as unknown as WatchMethods).watch(metadata)
    })
  }

  #callable(): ICallable<unknown> {
    return {
      exec: async <T>(service: ServiceName, method: string, params: unknown) =>
        this.#exec<T>(service, method, params, await this.#askToken()),
      withConnection: () => Promise.reject(new Error('streams are opened by openWatch')),
      markFailed: () => {},
      callOptionsFactory: undefined,
    }
  }

  #exec<T>(service: ServiceName, method: string, params: unknown, token: string | undefined): Promise<T> {
    return this.#etcd.connections.withConnection(
      service,
      ({ client, metadata }) =>
        new Promise<T>((resolve, reject) => {
          if (token !== undefined) metadata.set('token', token)
          const deadline = Date.now() + this.#timeoutMs
          const call = (client as unknown as UnaryMethods)[method]?.(
            params,
            metadata,
            { deadline },
            (error, answer) => {
              if (call) this.#running.delete(call)
              if (error) reject(error)
              else resolve(answer as T)
            },
          )
          if (call) this.#running.add(call)
          else reject(new Error(`etcd3 has no call ${service}.${method}`))
        }),
    )
  }

  #askToken(): Promise<string | undefined> {
    const login = this.#login
    if (!login) return Promise.resolve(undefined)
    const authenticate = new AuthClient({
      ...this.#callable(),
      exec: (service, method, params) => this.#exec(service, method, params, undefined),
    })
    this.#token ??= authenticate.authenticate(login).then(
      answer => answer.token,
      // Where authentication is off, no token is needed: as etcd's own client does.
      (error: unknown) => {
        if (/authentication is not enabled/.test(String(error))) return undefined
        throw error
      },
    )
    return this.#token
  }
}

type ServiceName = Parameters<ICallable<unknown>['exec']>[0]
type WatchStream = IDuplexStream<IWatchRequest, IWatchResponse> &
  AsyncIterable<IWatchResponse> & { destroy(error: Error): void }
type WatchMethods = { watch(metadata: object): WatchStream }
type UnaryMethods = Record<
  string,
  (
    params: unknown,
    metadata: object,
    options: { deadline: number },
    done: (error: Error | null, answer: unknown) => void,
  ) => { cancel(): void }
>
interface Login {
  readonly name: string
  readonly password: string
}

/** The pool is protected in the library's types; it is what carries a call with metadata of its own. */
class Channels extends Etcd3 {
  get connections() {
    return this.pool
  }
}

function rangeBytes(range: KeyRange): { key: Buffer; range_end?: Buffer } {
  const key = Buffer.from(range.from)
  return range.to === undefined ? { key } : { key, range_end: Buffer.from(range.to) }
}

/** Compared over a range, `version = 0` holds only where no key of the range stands (etcdserver/apply.go, applyCompare). */
function compare(condition: Condition): ICompare {
  if ('absent' in condition)
    return { ...rangeBytes(condition.absent), target: 'Version', result: 'Equal', version: 0 }
  return {
    key: Buffer.from(condition.key),
    target: 'Mod',
    result: 'Equal',
    mod_revision: condition.modRevision,
  }
}

function changeOp(change: Change): IRequestOp {
  if ('remove' in change) return { request_delete_range: { key: Buffer.from(change.remove) } }
  if ('touch' in change)
    return { request_put: { key: Buffer.from(change.touch), ignore_value: true, ignore_lease: true } }
  return {
    request_put: {
      key: Buffer.from(change.put),
      value: Buffer.from(change.value),
      lease: change.leaseId,
    },
  }
}

function keyValue(kv: IKeyValue): KeyValue {
  return {
    key: textOf(kv.key, MAX_KEY_BYTES),
    value: textOf(kv.value, MAX_LEASE_BYTES),
    createRevision: Number(kv.create_revision),
    modRevision: Number(kv.mod_revision),
    leaseId: kv.lease,
  }
}

/** Foreign and of any size: one byte more than is allowed is enough for the reader to refuse it. */
function textOf(bytes: Buffer, max: number): string {
  return bytes.toString('utf8', 0, Math.min(bytes.length, max + 1))
}

function head(header: IResponseHeader): Head {
  return { clusterId: header.cluster_id, revision: Number(header.revision) }
}

/** Within one batch the last event of a key counts. */
function watchBatch(response: IWatchResponse): WatchBatch {
  if (Number(response.compact_revision) > 0) throw new Error('required revision has been compacted')
  if (response.canceled) throw new Error(response.cancel_reason || 'the server cancelled the watch')
  const last = new Map<string, KeyValue | undefined>()
  for (const event of response.events)
    last.set(textOf(event.kv.key, MAX_KEY_BYTES), event.type === 'Put' ? keyValue(event.kv) : undefined)
  const puts = [...last.values()].filter(kv => kv !== undefined)
  const deletes = [...last].filter(([, kv]) => kv === undefined).map(([key]) => key)
  const newest = Number(response.events.at(-1)?.kv.mod_revision ?? 0)
  // The rest of this revision's events may be in the next response.
  const through = response.fragment && newest > 0 ? newest - 1 : newest
  return { ...head(response.header), puts, deletes, through }
}
