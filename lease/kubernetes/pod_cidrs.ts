import { setMaxListeners } from 'node:events'
import { setImmediate as immediate } from 'node:timers/promises'
import { WakeUp } from '../common/wake_up.ts'
import { ApiError } from './api_error.ts'
import type { NodeObject } from './node_object.ts'
import type { NodeSource } from './node_source.ts'
import type { Session } from './session.ts'

/** So many Nodes are read one by one, side by side; more, beyond a part of the cluster, by a list of all. */
const fewNodes = 50
const fewOfAll = 1 / 20

/** Between two lists, at least; and twice as long as the last one took. */
const listEveryMs = 500

export interface PodCidrParts {
  readonly session: Session
  readonly source: NodeSource
  /** How many Nodes there are: what a list would cost. */
  readonly nodeCount: () => number
  /** A whole Node that was asked for; undefined where there is none of that name any more, or another one. */
  readonly found: (name: string, uid: string, node: NodeObject | undefined) => void
  /** A Node that could not be read; it is tried again. */
  readonly failed: (name: string, uid: string, cause: unknown) => void
}

/**
 * Reads the podCIDRs of Nodes that do not publish them in an annotation, which are those of flanneld. No Node waits for
 * another one: each is tried until it can be read, however many cannot.
 */
export class PodCidrs {
  readonly #parts: PodCidrParts
  /** By name, the uid. */
  readonly #wanted = new Map<string, string>()
  readonly #due = new WakeUp()
  /** Requests under way. */
  #asking = 0
  #nextListMs = 0

  constructor(parts: PodCidrParts) {
    this.#parts = parts
  }

  want({ name, uid }: NodeObject): void {
    this.#wanted.set(name, uid)
    this.#due.set()
  }

  forget(name: string): void {
    this.#wanted.delete(name)
  }

  /** Rejects with the signal's reason, or with what is a defect. */
  async run(until: AbortSignal): Promise<never> {
    // Each request under way listens to it.
    const signal = AbortSignal.any([until])
    setMaxListeners(0, signal)
    let defect: { readonly error: unknown } | undefined
    const stop = (error: unknown) => {
      defect ??= { error }
      this.#due.set()
    }
    for (;;) {
      await this.#due.wait(this.#untilListMs(), signal)
      // All that a watch has at hand is asked for at once.
      await immediate()
      if (defect !== undefined) throw defect.error
      if (this.#isMany()) {
        if (this.#untilListMs() === 0) await this.#list(signal)
      } else {
        for (const [name, uid] of this.#wanted) this.#get(name, uid, signal).catch(stop)
        this.#wanted.clear()
      }
    }
  }

  #isMany(): boolean {
    const few = Math.max(fewNodes, this.#parts.nodeCount() * fewOfAll)
    return this.#wanted.size + this.#asking > few
  }

  #untilListMs(): number {
    return this.#wanted.size === 0 ? Number.POSITIVE_INFINITY : Math.max(0, this.#nextListMs - Date.now())
  }

  async #get(name: string, uid: string, signal: AbortSignal): Promise<void> {
    const { session, source, found, failed } = this.#parts
    const attempt = async () => {
      this.#asking++
      try {
        return await source.get(name, signal)
      } catch (cause) {
        if (!signal.aborted && !isMissing(cause)) failed(name, uid, cause)
        throw cause
      } finally {
        this.#asking--
      }
    }
    const node = await session.persist('read a Node', attempt, signal, [404]).catch(noneIfMissing)
    found(name, uid, node?.uid === uid ? node : undefined)
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { session, source, found } = this.#parts
    const asked = [...this.#wanted]
    this.#wanted.clear()
    const beganMs = Date.now()
    const list = () => source.list('whole', undefined, signal)
    const { nodes } = await session.persist('list all Nodes', list, signal)
    const listed = new Map(nodes.map(node => [node.name, node]))
    for (const [name, uid] of asked) {
      const node = listed.get(name)
      found(name, uid, node?.uid === uid ? node : undefined)
    }
    this.#nextListMs = Date.now() + Math.max(listEveryMs, 2 * (Date.now() - beganMs))
  }
}

function isMissing(cause: unknown): boolean {
  return cause instanceof ApiError && cause.status === 404
}

function noneIfMissing(cause: unknown): undefined {
  if (!isMissing(cause)) throw cause
}
