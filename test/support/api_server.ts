import { writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type HistoryEntry,
  NodeStorage,
  type RawNode,
  type StoredNode,
  writeAnnotations,
} from './api_server_nodes.ts'
import { makeTls, type TlsFiles } from './api_server_tls.ts'

/** A request as the server saw it. */
export interface SeenRequest {
  /** In RBAC's terms: `list nodes`, `patch nodes/status`. */
  readonly action: string
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly accept: string
  readonly contentType: string
  readonly authorization: string
  readonly userAgent: string
  readonly body: string
  readonly atMs: number
}

/** What the server does instead of answering a request. */
export type Fault =
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Record<string, string> }
  /** The TCP connection ends with a RST. */
  | { readonly kind: 'reset' }
  /** No answer; the connection stays open. */
  | { readonly kind: 'hang' }
  /** Status 200 with that body. */
  | { readonly kind: 'body'; readonly body: string }
  /** A body that begins so and never ends. */
  | { readonly kind: 'endless'; readonly status: number; readonly start: string }
  /** Status 200, then the watch ends, ends after an ERROR event, ends with a RST, or stays silent. */
  | { readonly kind: 'close' | 'gone-event' | 'reset-later' | 'silence' }

interface Watcher {
  readonly response: ServerResponse
  readonly metadata: boolean
  readonly name: string | undefined
}

const leastRules = [
  'get nodes',
  'list nodes',
  'watch nodes',
  'patch nodes/status',
  'create events',
  'get pods',
]

const matchNeedsInitial =
  'resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided'

let tls: TlsFiles | undefined

/**
 * A Kubernetes API server, as far as this project uses one, which can fail on demand. It allows only what the
 * agent's ClusterRole allows.
 */
export class ApiServer {
  readonly storage = new NodeStorage()
  readonly requests: SeenRequest[] = []
  readonly events: Record<string, unknown>[] = []
  /** `namespace/name` to spec.nodeName. */
  readonly pods = new Map<string, string>()
  /** `namespace/name` to the pod's IPs. */
  readonly podIps = new Map<string, readonly string[]>()
  /** Accepted bearer tokens; undefined: every request is accepted. */
  tokens: Set<string> | undefined
  readonly rules = new Set(leastRules)
  /** Called for each request: the fault to answer with, or undefined. */
  fault: (request: SeenRequest) => Fault | undefined = () => undefined
  /** Delay of each answer, in ms; also of the start of a watch. */
  answerAfterMs = 0
  /** Whether a watch may begin with all Nodes, as by the feature gate WatchList. */
  watchList = true
  /** Bytes of bodies sent. */
  bytesSent = 0
  readonly #watchers = new Set<Watcher>()
  readonly #snapshots = new Map<string, { items: StoredNode[]; version: number }>()
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  #port = 0

  /** Listens on a free port; after `stop`, on the same port again. */
  async start(): Promise<this> {
    tls ??= makeTls()
    const server = createServer({ key: tls.keyPem, cert: tls.certPem }, (request, response) => {
      this.#serve(request, response).catch((error: unknown) => response.destroy(error as Error))
    })
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
    this.storage.onChange = entry => this.#tell(entry)
    await new Promise<void>(resolve => server.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
    return this
  }

  /** Ends all connections and refuses new ones. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = new Promise(resolve => server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    this.#watchers.clear()
    await closed
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`
  }

  get caPem(): string {
    return tls?.certPem ?? ''
  }

  /** Watches open now. */
  get watching(): number {
    return this.#watchers.size
  }

  /** Requests for that action since the n-th. */
  seen(action: string, since = 0): SeenRequest[] {
    return this.requests.slice(since).filter(request => request.action === action)
  }

  /**
   * Writes a kubeconfig for this server. `user` is in YAML's flow form: `{token: abc}`. `cluster`: more
   * fields of the cluster.
   */
  writeKubeconfig(file: string, user = '{}', cluster = ''): string {
    const ca = Buffer.from(this.caPem).toString('base64')
    writeFileSync(
      file,
      `apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "${this.url}", certificate-authority-data: ${ca}${cluster}}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
users:
- name: test
  user: ${user}
`,
    )
    return file
  }

  /** Ends all watches as a restarting server does, or with a RST. */
  endWatches(how: 'close' | 'reset' = 'close'): void {
    for (const { response } of this.#watchers) {
      if (how === 'close') response.end()
      else this.#tcpOf(response)?.resetAndDestroy()
    }
    this.#watchers.clear()
  }

  /** Sends every watch a bookmark with the current version. */
  bookmark(): void {
    for (const watcher of this.#watchers) this.#write(watcher.response, this.#bookmark(watcher))
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const seen = await see(request)
    this.requests.push(seen)
    const fault = this.fault(seen)
    if (fault !== undefined) return this.#fail(fault, response)
    const token = seen.authorization.replace(/^Bearer /, '')
    if (this.tokens !== undefined && !this.tokens.has(token))
      return this.#refuse(response, 401, 'Unauthorized')
    if (!this.rules.has(seen.action))
      return this.#refuse(response, 403, `User "test" cannot ${seen.action} at the cluster scope`)
    if (this.answerAfterMs > 0) await sleep(this.answerAfterMs)
    if (seen.action === 'watch nodes') return this.#watch(seen, response)
    if (seen.action === 'list nodes') return this.#list(seen, response)
    if (seen.action === 'get nodes') return this.#getNode(seen, response)
    if (seen.action === 'patch nodes/status') return this.#patch(seen, response)
    if (seen.action === 'create events') return this.#createEvent(seen, response)
    if (seen.action === 'get pods') return this.#getPod(seen, response)
    return this.#refuse(response, 404, 'the server could not find the requested resource')
  }

  #fail(fault: Fault, response: ServerResponse): void {
    const socket = this.#tcpOf(response)
    if (fault.kind === 'status') this.#refuse(response, fault.status, 'as the test wishes', fault.headers)
    else if (fault.kind === 'reset') socket?.resetAndDestroy()
    else if (fault.kind === 'body') response.end(fault.body)
    else if (fault.kind === 'endless') this.#pourEndlessly(fault.status, fault.start, response)
    else if (fault.kind !== 'hang') {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.flushHeaders()
      if (fault.kind === 'close') response.end()
      if (fault.kind === 'gone-event') response.end(`${expiredEvent()}\n`)
      if (fault.kind === 'reset-later') setImmediate(() => socket?.resetAndDestroy())
    }
  }

  #pourEndlessly(status: number, start: string, response: ServerResponse): void {
    response.writeHead(status, { 'content-type': 'application/json' }).write(start)
    const megabyte = Buffer.alloc(1024 * 1024, 'x')
    const pour = () => {
      this.bytesSent += megabyte.length
      response.write(megabyte, error => error ?? pour())
    }
    pour()
  }

  /** The TCP connection below TLS: only that one can send a RST. */
  #tcpOf({ socket }: ServerResponse): Socket | undefined {
    return [...this.#sockets].find(tcp => tcp.remotePort === socket?.remotePort)
  }

  #list({ query, accept }: SeenRequest, response: ServerResponse): ServerResponse {
    const name = selectedName(query)
    const token = query.get('continue') ?? ''
    const [id = '', start = '0'] = token.split(' ')
    const snapshot = token === '' ? this.#snapshot(name) : this.#snapshots.get(id)
    if (snapshot === undefined || snapshot.version < this.storage.compacted)
      return this.#refuse(response, 410, 'The provided continue parameter is too old')
    const first = Number(start)
    const limit = Number(query.get('limit') ?? 0) || snapshot.items.length
    const page = snapshot.items.slice(first, first + limit)
    const more = first + limit < snapshot.items.length
    const snapshotId = token === '' ? `s${this.requests.length}` : id
    if (more) this.#snapshots.set(snapshotId, snapshot)
    else this.#snapshots.delete(snapshotId)
    const metadata = accept.includes('as=PartialObjectMetadataList')
    const head = metadata
      ? '"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1"'
      : '"kind":"NodeList","apiVersion":"v1"'
    const rest = {
      resourceVersion: String(snapshot.version),
      ...(more ? { continue: `${snapshotId} ${first + limit}` } : {}),
    }
    const items = page.map(node => (metadata ? node.metadata : node.whole)).join(',')
    return this.#send(response, 200, `{${head},"metadata":${JSON.stringify(rest)},"items":[${items}]}`)
  }

  #snapshot(name: string | undefined): { items: StoredNode[]; version: number } {
    const all = [...this.storage.nodes].filter(([key]) => name === undefined || key === name)
    return { items: all.map(([, stored]) => stored), version: this.storage.version }
  }

  #watch({ query, accept }: SeenRequest, response: ServerResponse): ServerResponse {
    const initial = query.get('sendInitialEvents') === 'true'
    const invalid = initial
      ? this.#whyNoInitialEvents(query)
      : query.has('resourceVersionMatch') && matchNeedsInitial
    if (invalid) return this.#refuse(response, 422, `ListOptions.meta.k8s.io "" is invalid: ${invalid}`)
    const since = initial ? this.storage.version : Number(query.get('resourceVersion') ?? 0)
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    if (since < this.storage.compacted) {
      return response.end(`${expiredEvent()}\n`)
    }
    const watcher = {
      response,
      metadata: accept.includes('as=PartialObjectMetadata;'),
      name: selectedName(query),
    }
    if (initial) this.#tellAll(watcher, query.get('allowWatchBookmarks') === 'true')
    for (const entry of this.storage.history) if (entry.version > since) this.#tellOne(watcher, entry)
    this.#watchers.add(watcher)
    const timer = setTimeout(() => response.end(), Number(query.get('timeoutSeconds') ?? 1800) * 1000)
    response.on('close', () => {
      clearTimeout(timer)
      this.#watchers.delete(watcher)
    })
    return response
  }

  /** ValidateListOptions in apimachinery's pkg/apis/meta/internalversion/validation. */
  #whyNoInitialEvents(query: URLSearchParams): string | undefined {
    if (!this.watchList)
      return 'sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled'
    if (query.get('resourceVersionMatch') !== 'NotOlderThan')
      return 'resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan'
    return undefined
  }

  #tellAll(watcher: Watcher, withBookmark: boolean): void {
    for (const [name, stored] of this.storage.nodes)
      this.#tellOne(watcher, { type: 'ADDED', version: this.storage.version, name, stored })
    if (withBookmark)
      this.#write(watcher.response, this.#bookmark(watcher, { 'k8s.io/initial-events-end': 'true' }))
  }

  #tell(entry: HistoryEntry): void {
    for (const watcher of this.#watchers) this.#tellOne(watcher, entry)
  }

  #tellOne(watcher: Watcher, { type, name, stored }: HistoryEntry): void {
    if (watcher.name !== undefined && watcher.name !== name) return
    const object = watcher.metadata ? stored.metadata : stored.whole
    this.#write(watcher.response, `{"type":"${type}","object":${object}}\n`)
  }

  #bookmark({ metadata }: Watcher, annotations?: Readonly<Record<string, string>>): string {
    const head = metadata
      ? { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1' }
      : { kind: 'Node', apiVersion: 'v1' }
    const object = {
      ...head,
      metadata: { resourceVersion: String(this.storage.version), creationTimestamp: null, annotations },
    }
    return `${JSON.stringify({ type: 'BOOKMARK', object })}\n`
  }

  #getNode({ path, accept }: SeenRequest, response: ServerResponse): ServerResponse {
    const name = decodeURIComponent(path.split('/')[4] ?? '')
    const stored = this.storage.nodes.get(name)
    if (stored === undefined) return this.#refuse(response, 404, `nodes "${name}" not found`)
    return this.#send(
      response,
      200,
      accept.includes('as=PartialObjectMetadata') ? stored.metadata : stored.whole,
    )
  }

  #patch({ path, body, contentType, userAgent }: SeenRequest, response: ServerResponse): ServerResponse {
    if (contentType !== 'application/strategic-merge-patch+json')
      return this.#refuse(response, 415, `the body of the request was in an unknown format: ${contentType}`)
    const name = decodeURIComponent(path.split('/')[4] ?? '')
    if (!this.storage.nodes.has(name)) return this.#refuse(response, 404, `nodes "${name}" not found`)
    const stored = this.storage.update(name, node =>
      mergeStatusPatch(node, userAgent.split('/', 1)[0] ?? '', JSON.parse(body)),
    )
    return this.#send(response, 200, stored.whole)
  }

  #createEvent({ body }: SeenRequest, response: ServerResponse): ServerResponse {
    const event = JSON.parse(body) as Record<string, unknown>
    this.events.push(event)
    return this.#send(response, 201, body)
  }

  #getPod({ path }: SeenRequest, response: ServerResponse): ServerResponse {
    const [, , , , namespace, , name] = path.split('/')
    const nodeName = this.pods.get(`${namespace}/${name}`)
    if (nodeName === undefined) return this.#refuse(response, 404, `pods "${name}" not found`)
    return this.#send(
      response,
      200,
      JSON.stringify({
        kind: 'Pod',
        metadata: { name, namespace },
        spec: { nodeName },
        status: { podIPs: this.podIps.get(`${namespace}/${name}`)?.map(ip => ({ ip })) },
      }),
    )
  }

  #refuse(
    response: ServerResponse,
    code: number,
    message: string,
    headers: Record<string, string> = {},
  ): ServerResponse {
    return this.#send(
      response,
      code,
      JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code }),
      headers,
    )
  }

  #send(
    response: ServerResponse,
    status: number,
    body: string,
    headers: Record<string, string> = {},
  ): ServerResponse {
    this.bytesSent += Buffer.byteLength(body)
    return response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
  }

  #write(response: ServerResponse, line: string): void {
    this.bytesSent += Buffer.byteLength(line)
    response.write(line)
  }
}

function mergeStatusPatch(
  node: RawNode,
  manager: string,
  patch: {
    metadata?: { annotations?: Record<string, string | null> }
    status?: { conditions?: Record<string, string>[] }
  },
): void {
  writeAnnotations(node, manager, patch.metadata?.annotations ?? {})
  // The list's merge key is `type`.
  for (const condition of patch.status?.conditions ?? []) {
    const stood = node.status.conditions.find(other => other.type === condition.type)
    if (stood === undefined) node.status.conditions.push(condition)
    else Object.assign(stood, condition)
  }
}

async function see(request: IncomingMessage): Promise<SeenRequest> {
  const url = new URL(request.url ?? '/', 'https://127.0.0.1')
  let body = ''
  for await (const chunk of request) body += chunk
  const { method = 'GET', headers } = request
  return {
    action: actionOf(method, url),
    method,
    path: url.pathname,
    query: url.searchParams,
    accept: headers.accept ?? '',
    contentType: headers['content-type'] ?? '',
    authorization: headers.authorization ?? '',
    userAgent: headers['user-agent'] ?? '',
    body,
    atMs: performance.now(),
  }
}

function actionOf(method: string, { pathname, searchParams }: URL): string {
  const path = pathname.replace(/^\/api\/v1\/(namespaces\/[^/]+\/(?=.))?/, '').split('/')
  const [resource = '', name, subresource] = path
  const what = subresource === undefined ? resource : `${resource}/${subresource}`
  const verbs: Record<string, string> = { POST: 'create', PATCH: 'patch', DELETE: 'delete', PUT: 'update' }
  if (method !== 'GET') return `${verbs[method]} ${what}`
  if (name !== undefined) return `get ${what}`
  return `${searchParams.get('watch') === 'true' ? 'watch' : 'list'} ${what}`
}

function selectedName(query: URLSearchParams): string | undefined {
  return /^metadata\.name=(.+)$/.exec(query.get('fieldSelector') ?? '')?.[1]
}

function expiredEvent(): string {
  const status = { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'Expired', code: 410 }
  return JSON.stringify({
    type: 'ERROR',
    object: { ...status, message: 'too old resource version: 1 (1000)' },
  })
}
