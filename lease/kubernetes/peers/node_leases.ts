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
  /** This node's own Node, whose agent is asked for what is missing there, and not its peers. */
  readonly ownName: string | undefined
  /** Of the network; undefined: not known. */
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
  /** Whether the API server has said who there is. */
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

  /** All Nodes that there are. */
  list(nodes: readonly NodeObject[]): void {
    const present = new Set(nodes.map(node => node.name))
    for (const name of [...this.#known.keys()]) if (!present.has(name)) this.forget(name)
    this.#tellLeftovers(nodes)
    const readings = nodes.flatMap(node => this.#read(node) ?? this.#table.table.get(node.name) ?? [])
    this.listed = true
    this.#table.list(readings)
  }

  /** Once: annotations of a family that was switched off stay, and harm nothing. */
  #tellLeftovers(nodes: readonly NodeObject[]): void {
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

  /** Most events are heartbeats, which change nothing here. */
  put(node: NodeObject, after: string): void {
    const known = this.#known.get(node.name)
    const settled = known !== undefined && (known.settled || !isManaged(node, this.#parts.names))
    if (settled && known.uid === node.uid && known.words === node.annotations.words) return
    this.#show(node.name, this.#read(node, after))
  }

  forget(name: string): void {
    this.#known.delete(name)
    this.#podCidrs.forget(name)
    this.#table.remove(name)
  }

  /** Where the Node is gone meanwhile, or another one, the watch says so. */
  found(name: string, uid: string, podCidrs: readonly string[] | undefined): void {
    const known = this.#known.get(name)
    if (known?.uid !== uid || known.unread === undefined) return
    const { unread } = known
    known.unread = undefined
    if (podCidrs !== undefined) this.#show(name, this.#read({ ...unread, podCidrs }))
  }

  /** A Node whose podCIDRs could not be read. */
  failed(name: string, uid: string, cause: unknown): void {
    if (this.#known.get(name)?.uid === uid) this.#table.put({ key: name, reason: messageOf(cause) })
  }

  #show(name: string, readings: readonly Reading[] | undefined): void {
    if (readings?.length === 0) this.#table.remove(name)
    for (const reading of readings ?? []) this.#table.put(reading)
  }

  /**
   * What the table is to hold for it: nothing where it is no peer; undefined where its podCIDRs have yet to
   * be read, and what the table holds stays. A lease of which a part cannot be read is taken in part where
   * there was none before, and stays as it was where there was.
   */
  #read(node: NodeObject, after?: string): readonly Reading[] | undefined {
    const { names } = this.#parts
    const known = this.#knownAs(node)
    known.words = node.annotations.words
    const managed = isManaged(node, names)
    if (node.podCidrs !== undefined && node.podCidrs.length > 0) known.podCidrs = node.podCidrs
    const podCidrs = known.podCidrs ?? publishedPodCidrs(node, names)
    known.settled = podCidrs !== undefined
    if (managed && podCidrs === undefined && node.podCidrs === undefined) {
      this.#podCidrs.want(node, after)
      known.unread = node
      return undefined
    }
    known.unread = undefined
    this.#podCidrs.forget(node.name)
    if (!managed) {
      known.leased = false
      return []
    }
    const read = readLease({ ...node, podCidrs: podCidrs ?? [] }, names, this.#parts.families)
    const { lease } = read
    const problem = node.name === this.#parts.ownName ? undefined : read.problem
    const stood = known.leased
    known.leased ||= lease !== undefined
    if (this.listed && !stood && publishedPodCidrs(node, names) === undefined) this.#podCidrs.joined()
    if (problem === undefined) return lease === undefined ? [] : [lease]
    return lease === undefined || stood ? [problem] : [lease, problem]
  }

  /** A Node of that name that is another one has nothing to do with the lease that stands. */
  #knownAs({ name, uid }: NodeObject): Known {
    const before = this.#known.get(name)
    if (before?.uid === uid) return before
    if (before !== undefined) this.#table.remove(name)
    const known: Known = { ...unknown, uid }
    this.#known.set(name, known)
    return known
  }
}

/** What is kept of a Node from one event to the next. */
interface Known {
  readonly uid: string
  /** As the API server assigned them; undefined as long as they are not read, or none are. */
  podCidrs: readonly string[] | undefined
  /** Whether its podCIDRs are known, by whatever way. */
  settled: boolean
  /** What it said last, while its podCIDRs are being read. */
  unread: NodeObject | undefined
  /** Its annotations when it was read last: all that its lease is made of, but for the podCIDRs, which the uid stands for. */
  words: string
  /** Whether the table has a lease of it. */
  leased: boolean
}

const unknown = {
  podCidrs: undefined,
  settled: false,
  unread: undefined,
  words: '',
  leased: false,
} as const
