import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { ExpectedError, messageOf } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'
import type { Ip } from '../../lease/net/ip.ts'
import { type Answer, health, readiness } from './health.ts'
import type { StatusSource } from './status.ts'

export interface Listen {
  readonly ip: Ip
  /** 0: any free one. */
  readonly port: number
}

/** The port cannot be listened on. The message names it and the flags. */
export class ListenError extends ExpectedError {
  override name = 'ListenError'
}

type Page = (source: StatusSource) => Answer | Promise<Answer>

const pages: ReadonlyMap<string, Page> = new Map<string, Page>([
  ['/healthz', source => health(source())],
  ['/readyz', source => readiness(source())],
  // The metrics library costs some MB: only who scrapes pays for it.
  ['/metrics', async source => (await import('./metrics.ts')).metrics(source())],
])

/** Serves /healthz, /readyz and /metrics until the signal aborts, and resolves then. Rejects with ListenError. */
export async function serveStatus(
  { ip, port }: Listen,
  source: StatusSource,
  log: Log,
  signal: AbortSignal,
  onListening: (port: number) => void = () => {},
): Promise<void> {
  signal.throwIfAborted()
  const server = createServer({ requestTimeout: 5_000, headersTimeout: 5_000, keepAliveTimeout: 5_000 })
  server.maxConnections = 64
  server.on('request', (request, response) => void answer(request, response, source, log))
  await new Promise<void>((resolve, reject) => {
    server.once('error', cause => {
      const text = `Cannot listen on ${ip} port ${port}: ${cause.message}; choose others with --healthz-ip and --healthz-port`
      reject(new ListenError(text, { cause }))
    })
    server.once('close', resolve)
    server.listen({ host: ip, port }, () => {
      const address = server.address()
      const actual = typeof address === 'object' && address !== null ? address.port : port
      log.info({ ip, port: actual }, 'serving /healthz, /readyz and /metrics')
      onListening(actual)
    })
    const stop = () => {
      server.close()
      server.closeAllConnections()
    }
    signal.addEventListener('abort', stop, { once: true })
    server.once('close', () => signal.removeEventListener('abort', stop))
  })
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
  const path = request.url?.split('?', 1)[0] ?? '/'
  const page = pages.get(path)
  if (page === undefined) return { code: 404, text: `There are ${[...pages.keys()].join(', ')}\n` }
  try {
    return await page(source)
  } catch (error) {
    log.error({ error, path }, 'cannot answer')
    return { code: 500, text: `${messageOf(error)}\n` }
  }
}
