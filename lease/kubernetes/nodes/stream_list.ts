import { ExpectedError } from '../../common/errors.ts'
import { ApiError } from '../client/api_error.ts'
import { MOST_NODES, TooLongError } from '../client/foreign_body.ts'
import type { NodeObject } from './node_object.ts'
import type { NodeList, NodeSource } from './node_source.ts'
import { type NodeEvent, type WatchRequest, watchNodes } from './watch.ts'

/** The events of a watch; the reader ends it by `return`. */
export type Changes = AsyncGenerator<readonly NodeEvent[], void, undefined>

/** All Nodes. `changes`: the watch that listed them, if one did; it continues with the changes since. */
export interface StreamedList extends NodeList {
  readonly changes?: Changes
}

/**
 * One try to read all Nodes by a watch (watch-list): one request for all of them, and the API server keeps no
 * page in memory. Undefined where the server has no watch-list (before Kubernetes 1.32, or switched off); it
 * is not asked again then.
 */
export async function streamNodes(
  source: NodeSource,
  request: Omit<WatchRequest, 'resourceVersion'>,
  signal: AbortSignal,
): Promise<StreamedList | undefined> {
  const { session } = source
  if (!session.streamsLists) return undefined
  const changes = watchNodes(source, { ...request, resourceVersion: undefined }, signal)
  try {
    return { ...(await untilWhole(changes)), changes }
  } catch (error) {
    await changes.return()
    signal.throwIfAborted()
    if (!(error instanceof ApiError)) throw error
    // Without permission to watch, the caller lists, which needs another permission.
    if (error.status === 403) return undefined
    if (!withoutStreams.has(error.status)) throw error
    session.streamsLists = false
    return undefined
  }
}

/**
 * Statuses with which servers that do not know the parameters, and proxies before them, answer; the API
 * server itself sends 422.
 */
const withoutStreams = new Set([400, 404, 405, 422, 501])

async function untilWhole(changes: Changes): Promise<NodeList> {
  const nodes = new Map<string, NodeObject>()
  for (;;) {
    const { value: events, done } = await changes.next()
    if (done) throw new ExpectedError('Cannot list nodes: the watch ended before it had told all')
    for (const event of events) {
      if (event.type === 'bookmark') {
        if (event.isWhole) return { nodes: [...nodes.values()], resourceVersion: event.resourceVersion }
      } else if (event.type === 'put') nodes.set(event.node.name, event.node)
      else nodes.delete(event.node.name)
    }
    if (nodes.size > MOST_NODES) throw new TooLongError('list')
  }
}
