/**
 * The only file that uses the etcd3 library: its typed calls and its pool for one host. It does not use the
 * library's retries, circuit breaker, watch manager, lease keeper and token cache. Each hides an answer that
 * a lease depends on: a watch resumes at the wrong revision, calls fail though etcd is back, a token is never
 * renewed.
 */
import { noop } from 'cockatiel'
import type { ICallable, IDuplexStream, ISnapshotResponse, IWatchRequest, IWatchResponse } from 'etcd3'
import { ConnectionPool } from 'etcd3/lib/connection-pool.js'
import { AuthClient, ClusterClient, KVClient, LeaseClient, MaintenanceClient } from 'etcd3/lib/rpc.js'
import type { Log } from '../../common/log.ts'
import type { EtcdOptions } from '../../options.ts'
import { channelFactory, proxyOptions } from './channel.ts'
import type { Credentials } from './credentials.ts'
import { MAX_ANSWER_BYTES } from './pages.ts'
import type { EtcdTuning } from './tuning.ts'

export type { ICompare, IKeyValue, IRequestOp, IResponseHeader, IWatchResponse } from 'etcd3'

/** The channels and the token for one host. Each call is made once, with a deadline. */
export class Calls {
  readonly kv: KVClient
  readonly lease: LeaseClient
  readonly cluster: ClusterClient
  readonly maintenance: MaintenanceClient
  readonly #pool: ConnectionPool
  readonly #login: { readonly name: string; readonly password: string } | undefined
  readonly #timeoutMs: number
  /** Logs each request and its outcome at `-v 2`. */
  readonly #trace: (request: string, error?: Error | null) => void
  readonly #running = new Set<{ cancel(): void }>()
  #token: Promise<string | undefined> | undefined

  constructor(
    endpoint: string,
    options: EtcdOptions,
    tuning: EtcdTuning,
    credentials: Credentials,
    log: Log,
  ) {
    this.#trace = (request, error) =>
      log.trace({ endpoint, request, ...(error && { failure: error.message }) }, `asked etcd: ${request}`)
    this.#timeoutMs = tuning.callTimeoutMs
    const { username: name, password = '' } = options
    this.#login = name === undefined ? undefined : { name, password }
    this.#pool = new ConnectionPool({
      hosts: [endpoint],
      grpcOptions: {
        channelFactoryOverride: channelFactory(endpoint, credentials),
        'grpc.keepalive_time_ms': tuning.keepaliveMs,
        'grpc.keepalive_timeout_ms': tuning.keepaliveTimeoutMs,
        'grpc.keepalive_permit_without_calls': 1,
        'grpc.initial_reconnect_backoff_ms': 200,
        'grpc.max_reconnect_backoff_ms': 2_000,
        'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
        'grpc-node.flow_control_window': 1024 * 1024,
        ...proxyOptions(options.proxy),
      },
      faultHandling: { host: () => noop, global: noop },
    })
    const callable = this.#callable()
    this.kv = new KVClient(callable)
    this.lease = new LeaseClient(callable)
    this.cluster = new ClusterClient(callable)
    this.maintenance = new MaintenanceClient(callable)
  }

  get running(): number {
    return this.#running.size
  }

  close(): void {
    this.#pool.close()
  }

  cancel(): void {
    for (const call of this.#running) call.cancel()
  }

  /** Counts the stream as running until the returned function is called. */
  hold(stream: HeldStream): () => void {
    this.#running.add(stream)
    return () => this.#running.delete(stream)
  }

  /** Without `hasleader` a watch on a member that has lost its leader would stay silent. */
  async openWatch(): Promise<WatchStream> {
    const token = await this.#askToken()
    return this.#pool.withConnection('Watch', ({ client, metadata }) => {
      metadata.set('hasleader', 'true')
      if (token !== undefined) metadata.set('token', token)
      this.#trace('Watch')
      return (client as unknown as WatchMethods).watch(metadata)
    })
  }

  async openSnapshot(): Promise<SnapshotStream> {
    const token = await this.#askToken()
    return this.#pool.withConnection('Maintenance', ({ client, metadata }) => {
      if (token !== undefined) metadata.set('token', token)
      this.#trace('Maintenance.snapshot')
      return (client as unknown as SnapshotMethods).snapshot({}, metadata)
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
    return this.#pool.withConnection(
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
              this.#trace(`${service}.${method}`, error)
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
      // No token is needed where authentication is off; etcd's own client does the same.
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
export interface HeldStream {
  cancel(): void
  on(event: 'error', listener: () => void): unknown
}
type SnapshotStream = AsyncIterable<ISnapshotResponse> & HeldStream
type SnapshotMethods = { snapshot(request: object, metadata: object): SnapshotStream }
type UnaryMethods = Record<
  string,
  (
    params: unknown,
    metadata: object,
    options: { deadline: number },
    done: (error: Error | null, answer: unknown) => void,
  ) => { cancel(): void }
>
