import { messageOf } from '../../common/errors.ts'
import type { Log } from '../../common/log.ts'
import { allFamilies, type Family } from '../../net/ip.ts'
import type { LiveTable, Reading } from '../../table.ts'
import { type AnnotationNames, isManaged, publishedPodCidrs, readLease } from '../nodes/annotations.ts'
import type { NodeObject } from '../nodes/node_object.ts'
import type { PodCidrs } from './pod_cidrs.ts'

export interface NodeLeaseParts {
  readonly names: AnnotationNames
  readonly log: Log
  /**
   * This node's own Node: missing parts of its lease are reported by its own agent, and not as a problem of
   * the table.
   */
  readonly ownName: string | undefined
  /** Families of the network; undefined where not known. */
  readonly families: ReadonlySet<Family> | undefined
}

/**
 * Reads Nodes into the table of leases. A Node's podCIDRs never change once they are set (the API server
 * forbids it: ValidateNodeUpdate in pkg/apis/core/validation), so they are read once for every uid: with the
 * first list, which comes whole, or when a Node begins to be a peer. Where its agent publishes them, they are
 * not read.
 */
export class NodeLeases {
  readonly #parts: NodeLeaseParts
  readonly #table: LiveTable
  readonly #podCidrs: Pick<PodCidrs, 'want' | 'forget' | 'joined'>
  readonly #known = new Map<string, Known>()
  /** Whether the API server has listed all Nodes. */
  listed = false

  constructor(
    parts: NodeLeaseParts,
    table: LiveTable,
    podCidrs: Pick<PodCidrs, 'want' | 'forget' | 'joined'>,
  ) {
    this.#parts = parts
    this.#table = table
    this.#podCidrs = podCidrs
  }

  list(nodes: readonly NodeObject[]): void {
    const present = new Set(nodes.map(node => node.name))
    for (const name of [...this.#known.keys()]) if (!present.has(name)) this.forget(name)
    this.#logLeftovers(nodes)
    const readings = nodes.flatMap(node => this.#read(node) ?? this.#table.table.get(node.name) ?? [])
    this.listed = true
    this.#table.list(readings)
  }

  /** Logs once that annotations of a family which was switched off are ignored; they do no harm. */
  #logLeftovers(nodes: readonly NodeObject[]): void {
    const { names, families, log } = this.#parts
    if (families === undefined || this.listed) return
    for (const family of allFamilies) {
      if (families.has(family)) continue
      const { publicIp } = names.families[family]
      const count = nodes.filter(({ annotations }) => annotations.has(publicIp)).length
      if (count > 0)
        log.info(
          { nodes: count },
          `Ignoring the annotation ${publicIp} of ${count} Nodes: ${family} is not part of this network`,
        )
    }
  }

  /** Takes a changed Node. Most changes are heartbeats, which change no lease. */
  put(node: NodeObject, after: string): void {
    const known = this.#known.get(node.name)
    if (known?.uid === node.uid && known.annotationText === node.annotations.text) return
    this.#show(node.name, this.#read(node, after))
  }

  forget(name: string): void {
    this.#known.delete(name)
    this.#podCidrs.forget(name)
    this.#table.remove(name)
  }

  /** Takes a Node with the podCIDRs that were asked for. */
  found(node: NodeObject): void {
    this.#show(node.name, this.#read(node))
  }

  /** A Node whose podCIDRs could not be read. */
  failed(name: string, cause: unknown): void {
    this.#table.put({ key: name, reason: messageOf(cause) })
  }

  #show(name: string, readings: readonly Reading[] | undefined): void {
    if (readings?.length === 0) this.#table.remove(name)
    for (const reading of readings ?? []) this.#table.put(reading)
  }

  /**
   * The readings for the table: none where the Node is no peer; undefined where its podCIDRs must be read
   * first, and the table's entry stays. A lease of which one family cannot be read is taken in part if the
   * table had none, and otherwise stays as it was.
   */
  #read(node: NodeObject, after?: string): readonly Reading[] | undefined {
    const { names } = this.#parts
    const known = this.#knownAs(node)
    const managed = isManaged(node, names)
    if (node.podCidrs !== undefined && node.podCidrs.length > 0) known.podCidrs = node.podCidrs
    const podCidrs = known.podCidrs ?? publishedPodCidrs(node, names)
    known.annotationText = managed && podCidrs === undefined ? undefined : node.annotations.text
    if (managed && podCidrs === undefined && node.podCidrs === undefined) {
      this.#podCidrs.want(node, after)
      return undefined
    }
    this.#podCidrs.forget(node.name)
    if (!managed) return []
    const read = readLease({ ...node, podCidrs: podCidrs ?? [] }, names, this.#parts.families)
    const { lease } = read
    const problem = node.name === this.#parts.ownName ? undefined : read.problem
    const wasLeased = this.listed && this.#table.table.has(node.name)
    if (this.listed && !wasLeased && publishedPodCidrs(node, names) === undefined) this.#podCidrs.joined()
    if (problem === undefined) return lease === undefined ? [] : [lease]
    return lease === undefined || wasLeased ? [problem] : [lease, problem]
  }

  /**
   * The known state of this very Node. A new Node of the same name inherits nothing, and its predecessor's
   * lease is removed.
   */
  #knownAs({ name, uid }: NodeObject): Known {
    const before = this.#known.get(name)
    if (before?.uid === uid) return before
    if (before !== undefined) this.#table.remove(name)
    const known: Known = { uid, podCidrs: undefined, annotationText: undefined }
    this.#known.set(name, known)
    return known
  }
}

/** What is kept of a Node from one event to the next. */
interface Known {
  readonly uid: string
  /** As the API server assigned them; undefined while they are not read, or none is assigned. */
  podCidrs: readonly string[] | undefined
  /**
   * Its annotations when it was read last: with the podCIDRs, which never change for a uid, they make the
   * lease. Undefined for a peer without known podCIDRs, which is read at each of its changes.
   */
  annotationText: string | undefined
}
