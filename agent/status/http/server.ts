import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { isUnexpected, messageOf } from '../../../lease/common/errors.ts'
import { lazily } from '../../../lease/common/lazily.ts'
import type { Log } from '../../../lease/common/log.ts'
import type { Ip } from '../../../lease/net/ip.ts'
import type { StatusSource } from '../status.ts'
import { admitsRequest, boundConnections } from './connections.ts'
import { type DetailSource, Details } from './details.ts'
import { type Answer, health, printReason, readiness, verboseReadiness } from './health.ts'

export interface Listen {
  readonly ip: Ip
  /** 0: any free port. */
  readonly port: number
}

/** The metrics library costs some MB: it is loaded at the first scrape. */
const loadMetrics = lazily(() => import('./metrics.ts'))

type Page = (source: StatusSource, query: URLSearchParams) => Answer | Promise<Answer>

const pages: ReadonlyMap<string, Page> = new Map<string, Page>([
  ['/healthz', source => health(source())],
  ['/readyz', (source, query) => (query.has('verbose') ? verboseReadiness : readiness)(source())],
  ['/metrics', async source => (await loadMetrics()).metrics(source())],
])

/** In ms. A probe is one short request: a slower client gets no answer. */
const limits = {
  requestTimeout: 5_000,
  headersTimeout: 3_000,
  keepAliveTimeout: 5_000,
  // How often Node.js checks connections against the first two limits; it does so without connections too, so
  // not often. A client that sends byte by byte until then only holds one of boundConnections' connections.
  connectionsCheckingInterval: 10_000,
}
/** Closes a connection after this long without data either way. */
const IDLE_MS = 10_000

/**
 * Serves /healthz, /readyz, /metrics and the details until the signal aborts, and resolves then. A failure to
 * listen is logged once and nothing is served: pods need the network more than probes need an answer.
 */
export async function serveStatus(
  { ip, port }: Listen,
  source: StatusSource,
  details: DetailSource,
  log: Log,
  signal: AbortSignal,
  onListening: (port: number) => void = () => {},
): Promise<void> {
  signal.throwIfAborted()
  const asked = { source, details: new Details(details), log }
  const server = createServer(limits, (request, response) => {
    if (admitsRequest(request, response)) void answer(request, response, asked)
  })
  server.timeout = IDLE_MS
  boundConnections(server)
  try {
    const actual = await listen(server, ip, port)
    log.info({ ip, port: actual }, 'serving /healthz, /readyz and /metrics')
    // For example accept(2) without a free descriptor: the next connection may succeed.
    server.on('error', error => log.warn({}, `Cannot take a connection: ${messageOf(error)}`))
    onListening(actual)
  } catch (error) {
    log.error(
      {},
      `Cannot listen on ${ip} port ${port}: ${messageOf(error)}; /healthz, /readyz and /metrics are not served: stop what ` +
        'listens there (ss -ltnp names it) or choose others with --healthz-ip and --healthz-port, and restart twilld',
    )
  }
  await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
  server.close()
  server.closeAllConnections()
}

/** `0.0.0.0` means both families, as it does for flanneld; IPv4 alone where the kernel has no IPv6. */
async function listen(server: Server, ip: Ip, port: number): Promise<number> {
  if (ip !== '0.0.0.0') return await listenOn(server, ip, port)
  try {
    return await listenOn(server, '::', port)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL') throw error
    return await listenOn(server, ip, port)
  }
}

async function listenOn(server: Server, host: string, port: number): Promise<number> {
  server.listen({ host, port })
  await once(server, 'listening')
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : port
}

interface Asked {
  readonly source: StatusSource
  readonly details: Details
  readonly log: Log
}

async function answer(request: IncomingMessage, response: ServerResponse, asked: Asked): Promise<void> {
  const { code, text, type = 'text/plain; charset=utf-8', headers } = await answerTo(request, asked)
  response.writeHead(code, {
    'content-type': type,
    'content-length': Buffer.byteLength(text),
    'x-content-type-options': 'nosniff',
    ...headers,
  })
  response.end(request.method === 'HEAD' ? undefined : text)
}

async function answerTo(request: IncomingMessage, { source, details, log }: Asked): Promise<Answer> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return { code: 405, text: 'GET and HEAD only\n' }
  const [path = '/', query] = request.url?.split('?', 2) ?? []
  const page = pages.get(path)
  try {
    const answer = page?.(source, new URLSearchParams(query)) ?? details.answer(path, request)
    if (answer !== undefined) return await answer
    return { code: 404, text: `There are ${[...pages.keys(), ...details.paths].join(', ')}\n` }
  } catch (error) {
    if (!isUnexpected(error)) return { code: 503, text: `${printReason(messageOf(error))}\n` }
    log.error({ error, path }, 'cannot answer')
    return { code: 500, text: `${printReason(messageOf(error))}\n` }
  }
}
