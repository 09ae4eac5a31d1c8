import { Pace } from '../../common/pace.ts'
import { ApiError } from '../client/api_error.ts'
import { retryAfterMs, type Session } from '../client/session.ts'
import type { Depth, NodeObject } from './node_object.ts'
import type { NodeSource } from './node_source.ts'
import { type Changes, type StreamedList, streamNodes } from './stream_list.ts'
import { type NodeEvent, watchNodes } from './watch.ts'

/** What is known of the Nodes followed, each step on top of the ones before. */
export type NodeStep =
  /** All that there are; who is not named is gone. The reader may empty it: it can hold 5,000 of them. */
  | { readonly type: 'all'; readonly nodes: NodeObject[]; readonly version: string }
  /** `after`: the version that came before. */
  | {
      readonly type: 'put' | 'delete'
      readonly node: NodeObject
      readonly after: string
      readonly version: string
    }

export interface Following {
  readonly session: Session
  readonly source: NodeSource
  /** For the log: `all Nodes`, `Node n1`. */
  readonly what: string
  /** One Node alone; undefined: all. */
  readonly name: string | undefined
  /** Where to watch from, without a list; undefined: with a list. */
  readonly from?: string | undefined
  readonly depth: Depth
  /** How the first list is read; later ones, after a watch that fell behind, are read as the watch is. */
  readonly firstDepth: Depth
  readonly keptAnnotations: ReadonlySet<string>
}

/**
 * Lists, then watches from there, without end: the first step is `all`. Yields the steps that came together. A watch that ends or breaks continues
 * from the last version seen; where that version is too old, it lists again. Neither runs in a tight loop,
 * whatever the server answers. Rejects only with the signal's reason.
 */
export async function* followNodes(
  following: Following,
  signal: AbortSignal,
): AsyncGenerator<readonly NodeStep[], never, undefined> {
  const { session, what } = following
  const watching = `watch ${what}`
  const pace = new Pace(session.timing.pace)
  let depth = following.firstDepth
  let version = following.from
  for (;;) {
    let askedMs = 0
    let changes: Changes | undefined
    pace.started()
    try {
      if (version === undefined) {
        const list = await readAll(following, depth, signal)
        version = list.resourceVersion
        changes = list.changes
        yield [{ type: 'all', nodes: list.nodes, version }]
        if (depth !== following.depth) changes = await changes?.return(undefined).then(() => undefined)
        depth = following.depth
        pace.started()
      }
      changes ??= watchOnce(following, version, signal)
      for await (const events of changes) {
        session.retrier.over(watching)
        const steps = stepsOf(events, version)
        version = events.at(-1)?.resourceVersion ?? version
        if (steps.length > 0) yield steps
      }
      session.retrier.over(watching)
    } catch (error) {
      session.retrier.failed(watching, error, signal)
      askedMs = retryAfterMs(error)
      if (error instanceof ApiError && error.gone) version = undefined
    } finally {
      await changes?.return(undefined)
    }
    signal.throwIfAborted()
    session.retrier.restarted()
    await pace.next(signal, askedMs)
  }
}

function stepsOf(events: readonly NodeEvent[], from: string): readonly NodeStep[] {
  let after = from
  return events.flatMap((event): NodeStep[] => {
    const [before, version] = [after, event.resourceVersion]
    after = version
    return event.type === 'bookmark' ? [] : [{ type: event.type, node: event.node, after: before, version }]
  })
}

/**
 * All Nodes, by a watch that starts with them where the server has watch-list, else by a list; where one
 * fails, tries the other. One Node is read by a list, whose connection is used again.
 */
function readAll(following: Following, depth: Depth, signal: AbortSignal): Promise<StreamedList> {
  const { session, source, what, name, keptAnnotations } = following
  let byStream = false
  const attempt = async () => {
    byStream = name === undefined && !byStream
    const streamed = byStream && (await streamNodes(session, { depth, name, keptAnnotations }, signal))
    return streamed || (await source.list(depth, name, signal))
  }
  return session.persist(`list ${what}`, attempt, signal)
}

function watchOnce(following: Following, resourceVersion: string, signal: AbortSignal): Changes {
  const { session, depth, name, keptAnnotations } = following
  return watchNodes(session, { depth, name, resourceVersion, keptAnnotations }, signal)
}
