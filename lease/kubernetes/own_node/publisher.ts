import type { Log } from '../../common/log.ts'
import type { Pace } from '../../common/pace.ts'
import { present } from '../client/session.ts'
import type { AnnotationNames } from '../nodes/annotations.ts'
import { type NodeObject, writerOf } from '../nodes/node_object.ts'
import { type NodeSource, nodePath } from '../nodes/node_source.ts'

export interface PublisherParts {
  readonly source: NodeSource
  readonly names: AnnotationNames
  readonly name: string
  readonly log: Log
}

/** Annotations that are missing or wrong, with the wanted values. */
export type Missing = ReadonlyMap<string, string>

/** Longest interval in ms between repairs of annotations that another program also writes. */
const longestDisputeMs = 60_000

/** A second host counts as gone when it has written nothing for this long. */
const conflictMs = 3 * longestDisputeMs

const publishing = 'publish the annotations'

/** The user agent of this overlay's agents at the API server. */
const agents: readonly (string | undefined)[] = ['twilld', 'flanneld']

/** Keeps this node's annotations on its Node, and reports which program overwrites them. */
export class Publisher {
  readonly #parts: PublisherParts
  /** The values written last. */
  readonly #published = new Map<string, string>()
  readonly #dispute: Pace
  /**
   * Whether this process has seen the annotations right once. Wrong ones before that may be left by an
   * earlier process of this node.
   */
  #wasRight = false
  #conflict: { readonly text: string; readonly untilMs: number } | undefined

  constructor(parts: PublisherParts) {
    this.#parts = parts
    const { retrier, timing } = parts.source.session
    this.#dispute = retrier.pace({ maxMs: Math.max(timing.pace.minMs, longestDisputeMs) })
  }

  /** Says that another host runs an agent under this Node's name; undefined where none does. */
  get conflict(): string | undefined {
    return this.#conflict !== undefined && performance.now() < this.#conflict.untilMs
      ? this.#conflict.text
      : undefined
  }

  /** Writes the annotations. Resolves to false where the Node is gone. */
  async publish(missing: Missing, signal: AbortSignal): Promise<boolean> {
    const { source, name } = this.#parts
    if (missing.size === 0) {
      this.#wasRight = true
      return true
    }
    const request = {
      action: { verb: 'patch', resource: 'nodes/status' },
      method: 'PATCH',
      path: `${nodePath(name)}/status`,
      contentType: 'application/strategic-merge-patch+json',
      body: { metadata: { annotations: Object.fromEntries(missing) } },
    } as const
    const { session } = source
    const attempt = () => session.api.json(request, signal)
    const there = await present(session.persist(publishing, attempt, signal, [404]))
    if (!there) return false
    this.#wasRight = true
    for (const [annotation, value] of missing) this.#published.set(annotation, value)
    return true
  }

  /**
   * Repairs the annotations, less and less often while another program writes them too. Reads the Node again
   * first, because the watch may be behind. Resolves to whether the Node has them now: false where it is
   * gone. Rejects with the errors of `missingIn`.
   */
  async restore(
    missingIn: (node: NodeObject) => Missing,
    seen: NodeObject,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { source, name } = this.#parts
    const { session } = source
    if (missingIn(seen).size === 0) {
      this.#wasRight = true
      session.retrier.clear(publishing)
      return true
    }
    await this.#dispute.next(signal)
    this.#dispute.started()
    let raw: unknown
    const read = async () => {
      raw = await source.getRaw(name, signal)
    }
    if (!(await present(session.persist('read the own Node', read, signal, [404])))) return false
    const node = source.read(raw)
    const missing = missingIn(node)
    for (const [annotation, value] of missing) this.#tell(annotation, value, node, raw)
    return await this.publish(missing, signal)
  }

  #tell(annotation: string, value: string, node: NodeObject, raw: unknown): void {
    const { log } = this.#parts
    const stood = node.annotations.get(annotation)
    if (stood !== undefined && stood === this.#published.get(annotation)) {
      log.info({ node: node.name }, `Publishing ${annotation} '${value}', it was '${stood}'`)
      return
    }
    const writer = stood === undefined ? undefined : writerOf(raw, annotation)
    if (
      stood !== undefined &&
      this.#wasRight &&
      agents.includes(writer) &&
      this.#tellSecondHost(annotation, value, stood, node)
    )
      return
    const how = stood === undefined ? 'was removed' : `was changed to '${stood}'`
    const by = writer === undefined ? '' : ` by ${writer}`
    log.warn({ node: node.name }, `Publishing again ${annotation} '${value}', as it ${how}${by}`)
  }

  /**
   * Reports a second host under our name; returns whether there is one. Only agents publish an address, so
   * another address is another host's. Each text is logged once.
   */
  #tellSecondHost(annotation: string, value: string, stood: string, { name }: NodeObject): boolean {
    const { log, names } = this.#parts
    const known = this.conflict
    const isAddress = Object.values(names.families).some(({ publicIp }) => publicIp === annotation)
    if (!isAddress) return known !== undefined
    const text = `another host, at ${stood}, runs an agent as Node ${name} too (this one is at ${value}): give each host a name of its own, in kubelet and NODE_NAME, and restart its agent`
    this.#conflict = { text, untilMs: performance.now() + conflictMs }
    if (text !== known) log.error({ node: name, other: stood, own: value }, text)
    return true
  }
}
