import { messageOf } from '../common/errors.ts'
import type { Log } from '../common/log.ts'
import type { LeaseTableChange } from '../lease.ts'
import type { Family } from '../net/ip.ts'
import { LiveTable, type Reading } from '../table.ts'
import { type AnnotationNames, isManaged, publishedPodCidrs, readLease } from './annotations.ts'
import { followNodes } from './follow.ts'
import type { NodeObject } from './node_object.ts'
import type { NodeSource } from './node_source.ts'
import { PodCidrs } from './pod_cidrs.ts'
import type { Recall } from './recall.ts'
import type { Session } from './session.ts'

export interface PeerParts {
  readonly session: Session
  readonly source: NodeSource
  readonly names: AnnotationNames
  readonly recall: Recall
  readonly log: Log
  /** This node's own Node, whose agent is asked for what is missing there, and not its peers. */
  readonly ownName: string | undefined
  /** Of the network; undefined: not known. */
  readonly families: ReadonlySet<Family> | undefined
}

/** All Nodes' leases as LeaseStore.watch promises them. */
export async function* watchPeers(
  parts: PeerParts,
  signal: AbortSignal,
): AsyncGenerator<LeaseTableChange, void, undefined> {
  const table = new LiveTable()
  const left = new AbortController()
  const until = AbortSignal.any([signal, left.signal])
  const feed = new PeerFeed(parts, table)
  const feeding = Promise.all([feed.run(until), feed.readPodCidrs(until), feed.recall(until)]).catch(
    (error: unknown) => {
      if (!until.aborted) table.fail(error)
    },
  )
  try {
    for await (const change of table.watch(signal)) {
      if (feed.listed) parts.recall.noteLeases(() => change.table.values())
      yield change
    }
  } finally {
    left.abort()
    await feeding
  }
}

/**
 * Metadata is what changes, podCIDRs are what it lacks. A Node's podCIDRs never change once they are set (the API server
 * forbids it: ValidateNodeUpdate in pkg/apis/core/validation), so each is read once for every uid: with the first list,
 * which comes whole, or by itself when a Node begins to be a peer. Where its agent publishes them, they are not read.
 */
class PeerFeed {
  readonly #parts: PeerParts
  readonly #table: LiveTable
  readonly #known = new Map<string, Known>()
  readonly #podCidrs: PodCidrs
  /** Whether the API server has said who there is. */
  listed = false

  constructor(parts: PeerParts, table: LiveTable) {
    this.#parts = parts
    this.#table = table
    this.#podCidrs = new PodCidrs({
      session: parts.session,
      source: parts.source,
      nodeCount: () => this.#known.size,
      found: (name, uid, node) => this.#found(name, uid, node),
      failed: (name, uid, cause) => {
        if (this.#known.get(name)?.uid === uid) this.#table.put({ key: name, reason: messageOf(cause) })
      },
    })
  }

  async run(signal: AbortSignal): Promise<void> {
    const { session, source, names } = this.#parts
    const depths = { depth: 'metadata', firstDepth: 'whole' } as const
    const following = {
      session,
      source,
      what: 'all Nodes',
      name: undefined,
      ...depths,
      keptAnnotations: names.all,
    }
    for await (const step of followNodes(following, signal)) {
      if (step.type === 'all') this.#list(step.nodes.splice(0))
      else if (step.type === 'put') this.#put(step.node)
      else this.#forget(step.node.name)
    }
  }

  readPodCidrs(signal: AbortSignal): Promise<never> {
    return this.#podCidrs.run(signal)
  }

  /** The leases of last time, as long as the API server has said nothing. */
  async recall(signal: AbortSignal): Promise<void> {
    const cached = await this.#parts.recall.whenAway(signal)
    if (cached !== undefined && !this.listed) this.#table.list(cached.leases)
  }

  #list(nodes: readonly NodeObject[]): void {
    const present = new Set(nodes.map(node => node.name))
    for (const name of [...this.#known.keys()]) if (!present.has(name)) this.#forget(name)
    this.#tellLeftovers(nodes)
    const readings = nodes.flatMap(node => this.#read(node) ?? this.#table.table.get(node.name) ?? [])
    this.listed = true
    this.#table.list(readings)
  }

  /** Once: annotations of a family that was switched off stay, and harm nothing. */
  #tellLeftovers(nodes: readonly NodeObject[]): void {
    const { names, families, log } = this.#parts
    if (families === undefined || this.listed) return
    for (const family of ['ipv4', 'ipv6'] as const) {
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
  #put(node: NodeObject): void {
    const known = this.#known.get(node.name)
    const settled = known !== undefined && (known.settled || !isManaged(node, this.#parts.names))
    if (settled && known.uid === node.uid && known.words === wordsOf(node)) return
    this.#show(node.name, this.#read(node))
  }

  #show(name: string, readings: readonly Reading[] | undefined): void {
    if (readings?.length === 0) this.#table.remove(name)
    for (const reading of readings ?? []) this.#table.put(reading)
  }

  #forget(name: string): void {
    this.#known.delete(name)
    this.#podCidrs.forget(name)
    this.#table.remove(name)
  }

  /**
   * What the table is to hold for it: nothing where it is no peer; undefined where its podCIDRs have yet to be read, and
   * what the table holds stays. A lease of which a part cannot be read is taken in part where there was none before, and
   * stays as it was where there was.
   */
  #read(node: NodeObject): readonly Reading[] | undefined {
    const { names } = this.#parts
    const known = this.#knownAs(node)
    known.words = wordsOf(node)
    if (node.podCidrs !== undefined && node.podCidrs.length > 0) known.podCidrs = node.podCidrs
    const managed = isManaged(node, names)
    const podCidrs = known.podCidrs ?? publishedPodCidrs(node, names)
    known.settled = podCidrs !== undefined
    if (managed && podCidrs === undefined && node.podCidrs === undefined) {
      if (known.unread === undefined) this.#podCidrs.want(node)
      else known.outdated = true
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
    if (problem === undefined) return lease === undefined ? [] : [lease]
    return lease === undefined || stood ? [problem] : [lease, problem]
  }

  /** Where the Node is gone meanwhile, or another one, the watch says so. */
  #found(name: string, uid: string, node: NodeObject | undefined): void {
    const known = this.#known.get(name)
    if (known?.uid !== uid || known.unread === undefined) return
    const { unread, outdated } = known
    known.unread = undefined
    known.outdated = false
    if (node === undefined) return
    this.#show(name, this.#read({ ...unread, podCidrs: node.podCidrs }))
    if (outdated && !known.settled) this.#read(unread)
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
  /** Whether it has changed since they are being read. */
  outdated: boolean
  /** What it said when it was read last. */
  words: string
  /** Whether the table has a lease of it. */
  leased: boolean
}

const unknown = {
  podCidrs: undefined,
  settled: false,
  unread: undefined,
  outdated: false,
  words: '',
  leased: false,
} as const

/** All of a Node that its lease is made of, but for the podCIDRs, which the uid stands for. */
function wordsOf({ annotations }: NodeObject): string {
  return [...annotations].join('\n')
}
