import { once } from 'node:events'
import { chmod, mkdir, stat, unlink } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { ExpectedError, isUnexpected, messageOf } from '../../../lease/common/errors.ts'
import type { Log } from '../../../lease/common/log.ts'
import { ReportOnce } from '../../../lease/common/report_once.ts'
import { sleep } from '../../../lease/common/sleep.ts'

/** Answers one request; `query` is the part after `?`. */
export type Answerer = (query: URLSearchParams, signal: AbortSignal) => Promise<unknown>

/** By name: `status`, `map`, ... */
type Answerers = Readonly<Record<string, Answerer>>

export interface LocalApi {
  /** Requested by GET: they change nothing. */
  readonly documents: Answerers
  /** Requested by POST. */
  readonly acts: Answerers
}

/** This node cannot answer the request yet. */
export class NotReadyError extends ExpectedError {
  override name = 'NotReadyError'
}

/** sun_path of unix(7) holds 108 bytes, the last a zero. */
const LONGEST_PATH = 107
/** A request may read the kernel with iproute2's tools, or probe the way to a peer. */
const ANSWER_MS = 40_000

/** How often the socket is checked: a program that empties /run takes it away without a word. */
const LOOK_MS = 15_000

/**
 * Serves JSON documents over HTTP on a unix socket that only root and its group may open, until the signal
 * aborts; listens again where another program removed the socket. A failure to listen is only logged, and
 * tried again: the network does not depend on this API.
 */
export async function serveLocalApi(path: string, api: LocalApi, log: Log, signal: AbortSignal) {
  const troubles = new ReportOnce()
  let server = openServer(api, log)
  while (!signal.aborted) {
    if (server.listening && !(await isThere(path))) {
      log.warn({ path }, 'the socket of the local API was removed: it is made again')
      // Closing removes what stands at the path: the old one goes before the new one comes.
      server.close()
      server = openServer(api, log)
    }
    if (!server.listening) await tryToListen(server, path, troubles, log)
    await sleep(LOOK_MS, signal).catch(() => {})
  }
  server.closeAllConnections()
  if (server.listening) await new Promise(resolve => server.close(resolve))
}

async function tryToListen(server: Server, path: string, troubles: ReportOnce, log: Log): Promise<void> {
  try {
    await listen(server, path)
    troubles.isOver(path)
    log.debug({ path }, 'serving the local API')
  } catch (error) {
    const text = `the local API cannot be served: ${messageOf(error)}; twill asks store and kernel itself`
    if (troubles.isNew(path, text)) log.warn({ path }, text)
  }
}

function openServer(api: LocalApi, log: Log): Server {
  const server = createServer({ requestTimeout: 5_000, headersTimeout: 5_000 })
  server.maxConnections = 16
  server.on('request', (request, response) => void answer(request, response, api, log))
  return server
}

/** Replaces a socket without a listener: a killed agent left it. */
async function listen(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > LONGEST_PATH)
    throw new ExpectedError(`its path is longer than ${LONGEST_PATH} bytes`)
  await mkdir(dirname(path), { recursive: true, mode: 0o755 })
  if (await isServed(path)) throw new ExpectedError('another process listens there: give --local-socket')
  await unlink(path).catch(() => {})
  server.listen(path)
  await once(server, 'listening')
  await chmod(path, 0o660)
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    error => (error as NodeJS.ErrnoException).code !== 'ENOENT',
  )
}

async function isServed(path: string): Promise<boolean> {
  const probe = connect(path)
  const answer = await once(probe, 'connect').catch(() => undefined)
  probe.destroy()
  return answer !== undefined
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { documents, acts }: LocalApi,
  log: Log,
): Promise<void> {
  // Not through URL, which throws for a path such as `//`.
  const [path = '/', query] = request.url?.split('?', 2) ?? []
  const answerers = request.method === 'POST' ? acts : documents
  const name = path.slice(1)
  const answerer = Object.hasOwn(answerers, name) ? answerers[name] : undefined
  const send = (code: number, value: unknown) => {
    response.writeHead(code, { 'content-type': 'application/json' })
    response.end(`${JSON.stringify(value)}\n`)
  }
  if (answerer === undefined)
    return send(404, { error: `there are ${Object.keys(answerers).join(', ')} by ${request.method}` })
  try {
    send(200, await answerer(new URLSearchParams(query), AbortSignal.timeout(ANSWER_MS)))
  } catch (error) {
    if (isUnexpected(error)) log.error({ error, path }, 'cannot answer over the local API')
    send(error instanceof NotReadyError ? 503 : 400, { error: messageOf(error) })
  }
}
