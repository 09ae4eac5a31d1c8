import type { IncomingMessage } from 'node:http'
import { refusalEvent } from './api_error.ts'
import { type Depth, type NodeObject, readNode } from './node_object.ts'
import { textAt } from './path.ts'
import type { Session } from './session.ts'

/** One event of a watch; a bookmark says only how far we are. */
export type NodeEvent =
  | { readonly type: 'put' | 'delete'; readonly node: NodeObject; readonly resourceVersion: string }
  | { readonly type: 'bookmark'; readonly resourceVersion: string }

export interface WatchRequest {
  readonly depth: Depth
  /** One Node alone; undefined: all. */
  readonly name: string | undefined
  readonly resourceVersion: string
  readonly keptAnnotations: ReadonlySet<string>
}

const action = { verb: 'watch', resource: 'nodes' } as const

const accept: Record<Depth, string> = {
  whole: 'application/json',
  metadata: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
}

/**
 * One watch until the server ends it, as it does every few minutes; the first event, a bookmark of where it
 * began, says that it is open. Throws an ApiError that is `gone` where the
 * resourceVersion is too old, be it by HTTP status or by event, and an error where the connection breaks or is silent
 * for longer than bookmarks are apart.
 */
export async function* watchNodes(
  session: Session,
  request: WatchRequest,
  signal: AbortSignal,
): AsyncGenerator<NodeEvent, void, undefined> {
  const seconds = Math.ceil((session.timing.watchForMs * (1 + Math.random() / 2)) / 1000)
  const query = new URLSearchParams({
    watch: 'true',
    allowWatchBookmarks: 'true',
    resourceVersion: request.resourceVersion,
    timeoutSeconds: String(seconds),
  })
  if (request.name !== undefined) query.set('fieldSelector', `metadata.name=${request.name}`)
  const what = {
    action,
    method: 'GET',
    path: `/api/v1/nodes?${query}`,
    accept: accept[request.depth],
  } as const
  const response = await session.api.open(what, signal)
  yield { type: 'bookmark', resourceVersion: request.resourceVersion }
  for await (const line of lines(response, session)) {
    const event = readEvent(JSON.parse(line), request, session.api.url)
    if (event !== undefined) yield event
  }
}

function readEvent(value: unknown, request: WatchRequest, url: string): NodeEvent | undefined {
  const type = textAt(value, 'type')
  const object = typeof value === 'object' && value !== null && 'object' in value ? value.object : undefined
  if (type === 'ERROR') throw refusalEvent(action, url, object)
  const resourceVersion = textAt(object, 'metadata', 'resourceVersion') ?? request.resourceVersion
  if (type === 'BOOKMARK') return { type: 'bookmark', resourceVersion }
  const node = readNode(object, request.depth, request.keptAnnotations)
  if (node === undefined) return undefined
  return { type: type === 'DELETED' ? 'delete' : 'put', node, resourceVersion }
}

/** The lines of a body that grows. An unfinished last one is what a cut connection leaves, and is dropped. */
async function* lines(response: IncomingMessage, session: Session): AsyncGenerator<string, void, undefined> {
  const { watchSilenceMs } = session.timing
  const silence = new Error(
    `Cannot watch nodes at ${session.api.url}: silent for ${Math.round(watchSilenceMs / 1000)} s, the connection is taken for dead`,
  )
  let busy = false
  const timer = setTimeout(() => (busy ? timer.refresh() : response.destroy(silence)), watchSilenceMs)
  response.setEncoding('utf8')
  let rest = ''
  try {
    for await (const chunk of response) {
      timer.refresh()
      session.answered()
      const parts = (rest + chunk).split('\n')
      rest = parts.pop() ?? ''
      // Whoever reads us may take its time; that is no silence of the server's.
      busy = true
      for (const line of parts) if (line.trim() !== '') yield line
      busy = false
      timer.refresh()
    }
  } finally {
    clearTimeout(timer)
    response.destroy()
  }
}
