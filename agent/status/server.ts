import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { messageOf } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'
import type { Ip } from '../../lease/net/ip.ts'
import { boundConnections } from './connections.ts'
import { type Answer, health, readiness, verboseReadiness } from './health.ts'
import type { StatusSource } from './status.ts'

export interface Listen {
  readonly ip: Ip
  /** 0: any free one. */
  readonly port: number
}

type Page = (source: StatusSource, query: URLSearchParams) => Answer | Promise<Answer>

const pages: ReadonlyMap<string, Page> = new Map<string, Page>([
  ['/healthz', source => health(source())],
  ['/readyz', (source, query) => (query.has('verbose') ? verboseReadiness : readiness)(source())],
  // The metrics library costs some MB: only who scrapes pays for it.
  ['/metrics', async source => (await import('./metrics.ts')).metrics(source())],
])

/** In ms. A probe is one short question: whoever is slower than this has none. */
const limits = {
  requestTimeout: 5_000,
  headersTimeout: 3_000,
  keepAliveTimeout: 5_000,
  // How often Node looks for connections that are beyond the first two.
  connectionsCheckingInterval: 1_000,
}
/** Nothing was sent either way for so long. */
const IDLE_MS = 10_000

/**
 * Serves /healthz, /readyz and /metrics until the signal aborts, and resolves then. Where the port cannot be listened on, that
 * is said once and nothing is served: pods need the network more than probes need an answer.
 */
export async function serveStatus(
  { ip, port }: Listen,
  source: StatusSource,
  log: Log,
  signal: AbortSignal,
  onListening: (port: number) => void = () => {},
): Promise<void> {
  signal.throwIfAborted()
  const server = createServer(limits, (request, response) => void answer(request, response, source, log))
  server.timeout = IDLE_MS
  boundConnections(server)
  try {
    const actual = await listen(server, ip, port)
    log.info({ ip, port: actual }, 'serving /healthz, /readyz and /metrics')
    // accept(2) without a descriptor left, for one: the next connection may fare better.
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

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  source: StatusSource,
  log: Log,
): Promise<void> {
  const { code, text, type = 'text/plain; charset=utf-8' } = await answerTo(request, source, log)
  response.writeHead(code, { 'content-type': type, 'content-length': Buffer.byteLength(text) })
  response.end(request.method === 'HEAD' ? undefined : text)
}

async function answerTo(request: IncomingMessage, source: StatusSource, log: Log): Promise<Answer> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return { code: 405, text: 'GET and HEAD only\n' }
  const [path = '/', query] = request.url?.split('?', 2) ?? []
  const page = pages.get(path)
  if (page === undefined) return { code: 404, text: `There are ${[...pages.keys()].join(', ')}\n` }
  try {
    return await page(source, new URLSearchParams(query))
  } catch (error) {
    log.error({ error, path }, 'cannot answer')
    return { code: 500, text: `${messageOf(error)}\n` }
  }
}
