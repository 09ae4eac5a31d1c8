import { randomBytes } from 'node:crypto'
import { printable } from '../../common/printable.ts'
import { at, textAt } from '../../json/path.ts'
import type { LeaseProblem } from '../../lease.ts'
import type { Session } from '../client/session.ts'
import { type NodeSource, nodePath } from '../nodes/node_source.ts'

/** The same Event is not written again within this time. The API server keeps Events for an hour. */
const sameEventMs = 45 * 60_000
/** Most Events in that time: a flapping peer causes a new text each time, on every node. */
const MOST_EVENTS = 20

/** Writes conditions and Events, which schedulers and operators read on a Node. */
export class Reporter {
  readonly #source: NodeSource
  readonly #session: Session
  readonly #reported = new Map<string, number>()

  constructor(source: NodeSource) {
    this.#source = source
    this.#session = source.session
  }

  /**
   * Sets NetworkUnavailable to False, in flannel's words, unless it is so already. Cloud providers register
   * Nodes with True, and no pod is scheduled there until it is False.
   */
  async announceReady(name: string, signal: AbortSignal): Promise<void> {
    await this.#session.persist(
      'set the condition NetworkUnavailable',
      async () => {
        if (isAnnounced(await this.#source.getRaw(name, signal))) return
        await this.#session.api.json(conditionPatch(name, new Date()), signal)
      },
      signal,
    )
  }

  /**
   * Writes a Warning event on the Node, once in 45 min for each text, at most 20 in all. One try: the log has
   * the problem in any case.
   */
  async report(node: string, problem: LeaseProblem, signal: AbortSignal): Promise<void> {
    const now = Date.now()
    for (const [reason, atMs] of this.#reported) if (now - atMs > sameEventMs) this.#reported.delete(reason)
    if (this.#reported.has(problem.reason) || this.#reported.size >= MOST_EVENTS) return
    this.#reported.set(problem.reason, now)
    const what = 'write an event'
    try {
      await this.#session.api.json(eventRequest(node, problem.reason, new Date(now)), signal)
      this.#session.retrier.over(what)
    } catch (cause) {
      this.#reported.delete(problem.reason)
      this.#session.retrier.failed(what, cause, signal)
      // Not retried, so no trouble: it must not keep pods away from this node.
      this.#session.retrier.clear(what)
    }
  }
}

function isAnnounced(node: unknown): boolean {
  const conditions = at(node, 'status', 'conditions')
  if (!Array.isArray(conditions)) return false
  const found = conditions.find(condition => textAt(condition, 'type') === 'NetworkUnavailable')
  return textAt(found, 'status') === 'False' && textAt(found, 'reason') === announced.reason
}

const announced = {
  type: 'NetworkUnavailable',
  status: 'False',
  reason: 'FlannelIsUp',
  message: 'Flannel is running on this node',
} as const

function conditionPatch(name: string, now: Date) {
  const time = goTime(now)
  const condition = { ...announced, lastTransitionTime: time, lastHeartbeatTime: time }
  return {
    action: { verb: 'patch', resource: 'nodes/status' },
    method: 'PATCH',
    path: `${nodePath(name)}/status`,
    contentType: 'application/strategic-merge-patch+json',
    body: { status: { conditions: [condition] } },
  } as const
}

/**
 * An event of core/v1 as the kubelet writes them for its Node. `uid` is the Node's name, otherwise `kubectl
 * describe node` does not find it.
 */
function eventRequest(node: string, message: string, now: Date) {
  const time = goTime(now)
  return {
    action: { verb: 'create', resource: 'events' },
    method: 'POST',
    path: '/api/v1/namespaces/default/events',
    body: {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { namespace: 'default', name: `${node}.${randomBytes(8).toString('hex')}` },
      involvedObject: { apiVersion: 'v1', kind: 'Node', name: node, uid: node },
      type: 'Warning',
      reason: 'LeaseProblem',
      // The API server accepts at most 1024 bytes.
      message: printable(message, 900).slice(0, 1000),
      source: { component: 'twilld', host: node },
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    },
  } as const
}

/** metav1.Time: RFC 3339 in whole seconds. */
function goTime(time: Date): string {
  return time.toISOString().replace(/\.\d+Z$/, 'Z')
}
