import { Pace } from '../common/pace.ts'
import { ApiError } from './api_error.ts'
import type { Depth, NodeObject } from './node_object.ts'
import type { NodeList, NodeSource } from './node_source.ts'
import { retryAfterMs, type Session } from './session.ts'
import { type NodeEvent, watchNodes } from './watch.ts'

/** What is known of the Nodes followed, each step on top of the ones before. */
export type NodeStep =
  /** All that there are; who is not named is gone. Whoever takes it may empty it: it can be 5,000 of them. */
  | { readonly type: 'all'; readonly nodes: NodeObject[] }
  | { readonly type: 'put' | 'delete'; readonly node: NodeObject }

export interface Following {
  readonly session: Session
  readonly source: NodeSource
  /** For the log: `all Nodes`, `Node n1`. */
  readonly what: string
  /** One Node alone; undefined: all. */
  readonly name: string | undefined
  readonly depth: Depth
  /** How the first list is read; later ones, after a watch that fell behind, are read as the watch is. */
  readonly firstDepth: Depth
  readonly keptAnnotations: ReadonlySet<string>
}

/**
 * List, then watch from there, for ever: the first step is `all`. A watch that ends or breaks goes on from the last
 * version seen; one whose version is too old begins again with a list. Neither is done in a tight loop, whatever the
 * server answers. Rejects only with the signal's reason.
 */
export async function* followNodes(
  following: Following,
  signal: AbortSignal,
): AsyncGenerator<NodeStep, never, undefined> {
  const { session, what } = following
  const watching = `watch ${what}`
  const pace = new Pace(session.timing.pace)
  let depth = following.firstDepth
  let version: string | undefined
  for (;;) {
    if (version === undefined) {
      const list = await readAll(following, depth, signal)
      depth = following.depth
      version = list.resourceVersion
      yield { type: 'all', nodes: list.nodes }
    }
    let askedMs = 0
    pace.started()
    try {
      for await (const event of watchOnce(following, version, signal)) {
        session.retrier.over(watching)
        version = event.resourceVersion
        if (event.type !== 'bookmark') yield { type: event.type, node: event.node }
      }
      session.retrier.over(watching)
    } catch (error) {
      session.retrier.failed(watching, error, signal)
      askedMs = retryAfterMs(error)
      if (error instanceof ApiError && error.gone) version = undefined
    }
    signal.throwIfAborted()
    await pace.next(signal, askedMs)
  }
}

function readAll(
  { session, source, what, name }: Following,
  depth: Depth,
  signal: AbortSignal,
): Promise<NodeList> {
  return session.persist(`list ${what}`, () => source.list(depth, name, signal), signal)
}

function watchOnce(
  following: Following,
  resourceVersion: string,
  signal: AbortSignal,
): AsyncIterable<NodeEvent> {
  const { session, depth, name, keptAnnotations } = following
  return watchNodes(session, { depth, name, resourceVersion, keptAnnotations }, signal)
}
