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
  type IDuplexStream,
  type IWatchRequest,
  type IWatchResponse,
  KVClient,
  LeaseClient,
} from 'etcd3'
import type { EtcdOptions } from '../options.ts'
import { channelFactory } from './channel.ts'
import type { Credentials } from './credentials.ts'
import { MAX_ANSWER_BYTES } from './pages.ts'
import type { EtcdTuning } from './tuning.ts'

export type { ICompare, IKeyValue, IRequestOp, IResponseHeader, IWatchResponse } from 'etcd3'

/** One host's channels and one token: each call once, with a deadline. */
export class Calls {
  readonly kv: KVClient
  readonly lease: LeaseClient
  readonly #etcd: Channels
  readonly #login: Login | undefined
  readonly #timeoutMs: number
  readonly #running = new Set<{ cancel(): void }>()
  #token: Promise<string | undefined> | undefined

  constructor(endpoint: string, options: EtcdOptions, tuning: EtcdTuning, credentials: Credentials) {
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
    this.kv = new KVClient(callable)
    this.lease = new LeaseClient(callable)
  }

  /** Calls and streams that still run. */
  get running(): number {
    return this.#running.size
  }

  /** Takes nothing new; what runs goes on. */
  close(): void {
    this.#etcd.close()
  }

  cancel(): void {
    for (const call of this.#running) call.cancel()
  }

  /** Counts among what runs until it is told to end. */
  hold(stream: { cancel(): void }): () => void {
    this.#running.add(stream)
    return () => this.#running.delete(stream)
  }

  /** Watching a member that has lost its leader would be silent for ever; with `hasleader` it ends the stream instead. */
  async openWatch(): Promise<WatchStream> {
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
export type WatchStream = IDuplexStream<IWatchRequest, IWatchResponse> &
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
