import { chmod, mkdir, unlink } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { ExpectedError, isUnexpected, messageOf } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'

/** Answers one question; `query` are the words behind `?`. */
export type Answerer = (query: URLSearchParams, signal: AbortSignal) => Promise<unknown>

/** Documents by name: `status`, `map`, ... */
export type Documents = Readonly<Record<string, Answerer>>

/** sun_path of unix(7) holds 108 bytes, the last a zero. */
const LONGEST_PATH = 107
/** A question reads the kernel, at the longest the tools of iproute2. */
const ANSWER_MS = 20_000

/**
 * Serves the documents as JSON over HTTP on a unix socket that only root and its group may open, until the signal aborts. What
 * keeps it from listening is logged: the network does not depend on it.
 */
export async function serveLocalApi(
  path: string,
  documents: Documents,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const server = createServer({ requestTimeout: 5_000, headersTimeout: 5_000 })
  server.maxConnections = 16
  server.on('request', (request, response) => void answer(request, response, documents, log))
  try {
    await listen(server, path)
    log.debug({ path }, 'serving the local API')
  } catch (error) {
    log.warn(
      { path },
      `the local API cannot be served: ${messageOf(error)}; twill asks store and kernel itself`,
    )
  }
  await new Promise<void>(resolve => {
    const stop = () => {
      server.closeAllConnections()
      server.close(() => resolve())
      if (!server.listening) resolve()
    }
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}

/** A socket that no process listens on is a file of an agent that was killed: it is replaced. */
async function listen(server: ReturnType<typeof createServer>, path: string): Promise<void> {
  if (Buffer.byteLength(path) > LONGEST_PATH)
    throw new ExpectedError(`its path is longer than ${LONGEST_PATH} bytes`)
  await mkdir(dirname(path), { recursive: true, mode: 0o755 })
  if (await isServed(path)) throw new ExpectedError('another process listens there: give --local-socket')
  await unlink(path).catch(() => {})
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
  await chmod(path, 0o660)
}

function isServed(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', () => resolve(false))
  })
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  documents: Documents,
  log: Log,
): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://local')
  const document = Object.hasOwn(documents, pathname.slice(1)) ? documents[pathname.slice(1)] : undefined
  const send = (code: number, value: unknown) => {
    response.writeHead(code, { 'content-type': 'application/json' })
    response.end(`${JSON.stringify(value)}\n`)
  }
  if (document === undefined) return send(404, { error: `there are ${Object.keys(documents).join(', ')}` })
  try {
    send(200, await document(searchParams, AbortSignal.timeout(ANSWER_MS)))
  } catch (error) {
    if (isUnexpected(error)) log.error({ error, path: pathname }, 'cannot answer over the local API')
    send(400, { error: messageOf(error) })
  }
}
