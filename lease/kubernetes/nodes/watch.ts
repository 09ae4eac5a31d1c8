import type { IncomingMessage } from 'node:http'
import { at, textAt } from '../../json/path.ts'
import type { ApiRequest } from '../client/api_client.ts'
import { refusalEvent } from '../client/api_error.ts'
import { MAX_OBJECT_BYTES, TooLongError } from '../client/foreign_body.ts'
import type { Session } from '../client/session.ts'
import {
  type Depth,
  type NodeObject,
  parseWithoutManagedFields,
  parseWithoutStatus,
  readNode,
} from './node_object.ts'
import type { NodeSource } from './node_source.ts'

/**
 * One event of a watch. A bookmark only tells the version reached; with `isWhole`, that all Nodes have been
 * listed.
 */
export type NodeEvent =
  | { readonly type: 'put' | 'delete'; readonly node: NodeObject; readonly resourceVersion: string }
  | { readonly type: 'bookmark'; readonly resourceVersion: string; readonly isWhole: boolean }

export interface WatchRequest {
  readonly depth: Depth
  /** One Node alone; undefined: all. */
  readonly name: string | undefined
  /** undefined: the watch begins with all existing Nodes. */
  readonly resourceVersion: string | undefined
}

const action = { verb: 'watch', resource: 'nodes' } as const

const accept: Record<Depth, string> = {
  whole: 'application/json',
  metadata: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
}

/**
 * One watch, until the server ends it, as it does every few minutes. Yields events that arrive together,
 * mostly heartbeats, in one batch: handling thousands one by one would cost more than their content. The
 * first batch is a bookmark and says that the watch is open; the bookmark with `isWhole` always ends a batch.
 * Throws an ApiError that is `gone` where the resourceVersion is too old, by HTTP status or by event, and an
 * Error where the connection breaks or is silent for longer than bookmarks are apart.
 */
export async function* watchNodes(
  source: NodeSource,
  request: WatchRequest,
  signal: AbortSignal,
): AsyncGenerator<readonly NodeEvent[], void, undefined> {
  const { session } = source
  const { resourceVersion } = request
  const response = await session.api.open(watchRequest(request, session), signal)
  yield [{ type: 'bookmark', resourceVersion: resourceVersion ?? '', isWhole: false }]
  let isWhole = resourceVersion !== undefined
  const { watchSilenceMs, answerWithinMs } = session.timing
  const silenceMs = () => (isWhole ? watchSilenceMs : answerWithinMs)
  for await (const some of lines(response, session, silenceMs)) {
    let events: NodeEvent[] = []
    try {
      for (const line of some) {
        const event = readEvent(parse(line, request.depth), request, source)
        if (event !== undefined) events.push(event)
        if (event?.type !== 'bookmark' || !event.isWhole) continue
        isWhole = true
        yield events
        events = []
      }
    } catch (error) {
      // Yields the events before the one that ended the watch with an error.
      if (events.length > 0) yield events
      throw error
    }
    if (events.length > 0) yield events
  }
}

function watchRequest({ depth, name, resourceVersion }: WatchRequest, { timing }: Session): ApiRequest {
  const seconds = Math.ceil((timing.watchForMs * (1 + Math.random() / 2)) / 1000)
  const query = new URLSearchParams({
    watch: 'true',
    allowWatchBookmarks: 'true',
    timeoutSeconds: String(seconds),
    ...(resourceVersion === undefined ? fromTheStart : { resourceVersion }),
  })
  if (name !== undefined) query.set('fieldSelector', `metadata.name=${name}`)
  return { action, method: 'GET', path: `/api/v1/nodes?${query}`, accept: accept[depth] }
}

function parse(line: string, depth: Depth): unknown {
  return depth === 'whole' ? parseWithoutStatus(line, '}}') : parseWithoutManagedFields(line)
}

/**
 * Parameters of watch-list: all Nodes as ADDED events, then a bookmark with the annotation
 * `k8s.io/initial-events-end`, then the changes (Kubernetes documentation, API concepts, Streaming lists;
 * KEP-3157).
 */
const fromTheStart = { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' } as const

function readEvent(value: unknown, request: WatchRequest, source: NodeSource): NodeEvent | undefined {
  const type = textAt(value, 'type')
  const object = at(value, 'object')
  if (type === 'ERROR') throw refusalEvent(action, source.session.url, object)
  const resourceVersion = textAt(object, 'metadata', 'resourceVersion') ?? request.resourceVersion ?? ''
  if (type === 'BOOKMARK') {
    const isWhole = textAt(object, 'metadata', 'annotations', 'k8s.io/initial-events-end') === 'true'
    return { type: 'bookmark', resourceVersion, isWhole }
  }
  const node = readNode(object, request.depth, source.keptAnnotations)
  if (node === undefined) return undefined
  return { type: type === 'DELETED' ? 'delete' : 'put', node, resourceVersion }
}

/**
 * The lines of the body as they arrive. An unfinished last line was left by a broken connection, and is
 * dropped. Throws TooLongError.
 */
async function* lines(
  response: IncomingMessage,
  session: Session,
  silenceMs: () => number,
): AsyncGenerator<readonly string[], void, undefined> {
  let busy = false
  let ms = silenceMs()
  // The time during which this stream's reader works does not count as silence of the server.
  const start = () => setTimeout(() => (busy ? timer.refresh() : response.destroy(silence(session, ms))), ms)
  let timer = start()
  const listen = () => {
    if (ms === silenceMs()) return timer.refresh()
    clearTimeout(timer)
    ms = silenceMs()
    timer = start()
    return timer
  }
  response.setEncoding('utf8')
  let rest = ''
  try {
    for await (const chunk of response) {
      session.answered()
      const parts: string[] = chunk.split('\n')
      parts[0] = rest + (parts[0] ?? '')
      rest = parts.pop() ?? ''
      if (rest.length > MAX_OBJECT_BYTES) throw new TooLongError()
      busy = true
      yield parts.filter(line => line.trim() !== '')
      busy = false
      listen()
    }
  } finally {
    clearTimeout(timer)
    response.destroy()
  }
}

function silence({ api }: Session, ms: number): Error {
  const seconds = Math.round(ms / 1000)
  return new Error(
    `Cannot watch nodes at ${api.url}: silent for ${seconds} s, the connection is taken for dead`,
  )
}
