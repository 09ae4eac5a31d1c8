import type { Pace } from '../../common/pace.ts'
import { ApiError } from '../client/api_error.ts'
import { retryAfterMs } from '../client/session.ts'
import type { Depth, NodeObject } from './node_object.ts'
import type { NodeSource } from './node_source.ts'
import { type Changes, type StreamedList, streamNodes } from './stream_list.ts'
import { type NodeEvent, watchNodes } from './watch.ts'

/** A change of the followed Nodes; each step builds on the earlier ones. */
export type NodeStep =
  /**
   * All existing Nodes; a Node that is missing here is gone. The reader may empty the list, which can hold
   * 5,000 Nodes.
   */
  | { readonly type: 'all'; readonly nodes: NodeObject[]; readonly version: string }
  /** One Node. `after`: the resourceVersion of the event before this one. */
  | {
      readonly type: 'put' | 'delete'
      readonly node: NodeObject
      readonly after: string
      readonly version: string
    }

export interface Following {
  readonly source: NodeSource
  /** For the log: `all Nodes`, `Node n1`. */
  readonly what: string
  /** One Node alone; undefined: all. */
  readonly name?: string
  /** The resourceVersion to watch from without a list; undefined: start with a list. */
  readonly from?: string | undefined
  /**
   * How much of each Node the watch reads, and later lists, after a watch that fell behind. The first list
   * reads whole Nodes.
   */
  readonly depth: Depth
}

/** What is already known of the Nodes. */
interface Progress {
  /** How much of each Node the next list reads. */
  depth: Depth
  /** The version to watch from; undefined: a list is needed first. */
  version: string | undefined
}

/**
 * Lists, then watches from there, without end: the first step is `all`, unless `from` is given. Yields steps
 * that arrive together in one batch. A watch that ended or broke continues from the last version seen; where
 * that version is too old, lists again. Neither runs in a tight loop, whatever the server answers. Rejects
 * only with the signal's reason.
 */
export async function* followNodes(
  following: Following,
  signal: AbortSignal,
): AsyncGenerator<readonly NodeStep[], never, undefined> {
  const { retrier } = following.source.session
  const watching = `watch ${following.what}`
  const pace = retrier.pace()
  const progress: Progress = { depth: 'whole', version: following.from }
  for (;;) {
    let askedMs = 0
    pace.started()
    try {
      yield* listAndWatch(following, progress, pace, signal)
      retrier.over(watching)
    } catch (error) {
      retrier.failed(watching, error, signal)
      askedMs = retryAfterMs(error)
      if (error instanceof ApiError && error.gone) progress.version = undefined
    }
    signal.throwIfAborted()
    retrier.restarts++
    await pace.next(signal, askedMs)
  }
}

/** One list, unless the version is known, and one watch, until it ends or fails. Updates `progress`. */
async function* listAndWatch(
  following: Following,
  progress: Progress,
  pace: Pace,
  signal: AbortSignal,
): AsyncGenerator<readonly NodeStep[], void, undefined> {
  let changes: Changes | undefined
  try {
    if (progress.version === undefined) {
      const list = await readAll(following, progress.depth, signal)
      progress.version = list.resourceVersion
      changes = list.changes
      yield [{ type: 'all', nodes: list.nodes, version: list.resourceVersion }]
      if (progress.depth !== following.depth) changes = await changes?.return(undefined).then(() => undefined)
      progress.depth = following.depth
      pace.started()
    }
    changes ??= watchOnce(following, progress.version, signal)
    for await (const events of changes) {
      following.source.session.retrier.over(`watch ${following.what}`)
      const steps = stepsOf(events, progress.version)
      progress.version = events.at(-1)?.resourceVersion ?? progress.version
      if (steps.length > 0) yield steps
    }
  } finally {
    await changes?.return(undefined)
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
 * Reads all Nodes by a watch that starts with them where the server has watch-list, else by a list; when one
 * fails, the next try uses the other. One Node is read by a list, which keeps its connection open for reuse.
 */
function readAll(
  { source, what, name }: Following,
  depth: Depth,
  signal: AbortSignal,
): Promise<StreamedList> {
  let byStream = false
  const attempt = async () => {
    byStream = name === undefined && !byStream
    const streamed = byStream && (await streamNodes(source, { depth, name }, signal))
    return streamed || (await source.list(depth, name, signal))
  }
  return source.session.persist(`list ${what}`, attempt, signal)
}

function watchOnce(following: Following, resourceVersion: string, signal: AbortSignal): Changes {
  const { source, depth, name } = following
  return watchNodes(source, { depth, name, resourceVersion }, signal)
}
