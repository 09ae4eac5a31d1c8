import { setMaxListeners } from 'node:events'
import { setImmediate as immediate } from 'node:timers/promises'
import { sleep } from '../../common/sleep.ts'
import { runTogether } from '../../common/tasks.ts'
import { WakeUp } from '../../common/wake_up.ts'
import { isMissing } from '../client/api_error.ts'
import { followNodes, type NodeStep } from '../nodes/follow.ts'
import type { NodeObject } from '../nodes/node_object.ts'
import type { NodeSource } from '../nodes/node_source.ts'

/**
 * Most Nodes that are read at the same time, and within `readsWithinMs`. Where more join, whole Nodes are
 * watched until no more do.
 */
const mostAtOnce = 4
const mostReads = 20
const readsWithinMs = 600_000

/** The watched Nodes in the log: `watch Nodes that join`. */
const joining = 'Nodes that join'

export interface PodCidrParts {
  readonly source: NodeSource
  /** Called with the newest version of a Node that was asked for, and its podCIDRs. */
  readonly found: (node: NodeObject) => void
  /** Called when a Node could not be read; it is retried. */
  readonly failed: (name: string, cause: unknown) => void
  /**
   * Called with each step of the watch of whole Nodes, which begins before the first Node that was asked for.
   */
  readonly onStep: (step: NodeStep) => void
  /** Called when the watch of whole Nodes has ended. */
  readonly onEnded: () => void
}

/** A Node whose podCIDRs are needed. */
interface Wanted {
  /** The newest version from the watch of metadata. */
  node: NodeObject
  /** The version of the event before it in that watch; undefined where it came in a list. */
  readonly after: string | undefined
  /** Whether a request for this Node is running. */
  isRead: boolean
}

/**
 * Finds the podCIDRs of Nodes whose agent does not publish them in an annotation, as flanneld. Reads a few
 * Nodes one by one, because a watch of whole Nodes carries the heartbeats of all. Where many join, such a
 * watch is cheaper: one request, however many there are.
 */
export class PodCidrs {
  readonly #parts: PodCidrParts
  /** By name. */
  readonly #wanted = new Map<string, Wanted>()
  readonly #due = new WakeUp()
  /** When Nodes were read one by one, in ms of the monotonic clock. */
  #readsMs: number[] = []
  #lastJoinMs = 0

  constructor(parts: PodCidrParts) {
    this.#parts = parts
  }

  want(node: NodeObject, after: string | undefined): void {
    this.joined()
    const before = this.#wanted.get(node.name)
    const wanted = before?.node.uid === node.uid ? before : { node, after, isRead: false }
    wanted.node = node
    this.#wanted.set(node.name, wanted)
    if (!wanted.isRead) this.#due.set()
  }

  /** Call when a Node of flanneld joined: more may follow. */
  joined(): void {
    this.#lastJoinMs = performance.now()
  }

  forget(name: string): void {
    this.#wanted.delete(name)
  }

  /** Rejects with the signal's reason, or with an error that is a defect. */
  async run(until: AbortSignal): Promise<never> {
    // A signal of its own without a limit of listeners: each running request is one.
    const signal = AbortSignal.any([until])
    setMaxListeners(0, signal)
    let defect: { readonly error: unknown } | undefined
    const stop = (error: unknown) => {
      defect ??= { error }
      this.#due.set()
    }
    for (;;) {
      await this.#due.wait(Number.POSITIVE_INFINITY, signal)
      // Lets the watch of metadata deliver all events that have arrived, so that one decision covers them
      // all.
      await immediate()
      if (defect !== undefined) throw defect.error
      const unread = [...this.#wanted].filter(([, { isRead }]) => !isRead)
      if (this.#areFew(unread.length))
        for (const [name, wanted] of unread) this.#read(name, wanted, signal).catch(stop)
      else await this.#watchWhole(signal)
    }
  }

  #areFew(more: number): boolean {
    const now = performance.now()
    this.#readsMs = this.#readsMs.filter(atMs => now - atMs < readsWithinMs)
    return more <= mostAtOnce && this.#readsMs.length + more <= mostReads
  }

  async #read(name: string, wanted: Wanted, signal: AbortSignal): Promise<void> {
    const { source, failed } = this.#parts
    const isWanted = () => this.#wanted.get(name) === wanted
    wanted.isRead = true
    this.#readsMs.push(performance.now())
    let asked = ''
    const attempt = async () => {
      asked = wanted.node.resourceVersion
      try {
        return isWanted() ? await source.get(name, signal) : undefined
      } catch (cause) {
        if (isWanted() && !signal.aborted && !isMissing(cause)) failed(name, cause)
        throw cause
      }
    }
    const node = await source.session.persist('read a Node', attempt, signal, [404]).catch(noneIfMissing)
    if (!isWanted()) return
    wanted.isRead = false
    // The Node has changed since: a podCIDR may have been assigned.
    if (node?.podCidrs?.length === 0 && wanted.node.resourceVersion !== asked) return this.#due.set()
    this.#answer(wanted, node?.uid === wanted.node.uid ? node : undefined)
  }

  /** Watches whole Nodes until none has joined for a while. */
  async #watchWhole(signal: AbortSignal): Promise<void> {
    // Starts before the oldest wanted Node. Nodes that are being read are covered too: the first answer
    // counts.
    const afters = Array.from(this.#wanted.values(), ({ after }) => after)
    const from = afters.includes(undefined) ? undefined : afters[0]
    this.joined()
    try {
      await runTogether(signal, [until => this.#follow(from, until), until => this.#untilNoJoins(until)])
    } finally {
      // The watch is over, and so are its troubles.
      for (const what of ['list', 'watch']) this.#parts.source.session.retrier.clear(`${what} ${joining}`)
      this.#parts.onEnded()
      // Nodes that the watch did not bring are read one by one.
      if (this.#wanted.size > 0) this.#due.set()
    }
  }

  async #follow(from: string | undefined, signal: AbortSignal): Promise<void> {
    const { source, onStep } = this.#parts
    const following = { source, what: joining, from, depth: 'whole' } as const
    for await (const steps of followNodes(following, signal))
      for (const step of steps) {
        if (step.type === 'all') for (const node of step.nodes) this.#take(node)
        else if (step.type === 'put') this.#take(step.node)
        onStep(step)
      }
  }

  async #untilNoJoins(signal: AbortSignal): Promise<void> {
    const { joinsForMs } = this.#parts.source.session.timing
    for (;;) {
      const restMs = this.#lastJoinMs + joinsForMs - performance.now()
      if (restMs <= 0) return
      await sleep(restMs, signal)
    }
  }

  #take(node: NodeObject): void {
    const wanted = this.#wanted.get(node.name)
    if (wanted !== undefined && isAnswer(node, wanted.node)) this.#answer(wanted, node)
  }

  /**
   * `answer`: undefined where the Node is gone or replaced by another one of the name; the watch will tell.
   */
  #answer({ node }: Wanted, answer: NodeObject | undefined): void {
    this.forget(node.name)
    if (answer !== undefined) this.#parts.found({ ...node, podCidrs: answer.podCidrs })
  }
}

/**
 * Whether the Node answers the request. Missing podCIDRs count only for the version asked about: they may be
 * assigned later.
 */
function isAnswer(node: NodeObject, { uid, resourceVersion }: NodeObject): boolean {
  return node.uid === uid && (node.podCidrs?.length !== 0 || node.resourceVersion === resourceVersion)
}

function noneIfMissing(cause: unknown): undefined {
  if (!isMissing(cause)) throw cause
}
