import type { LeaseTableChange } from '../lease.ts'
import { LiveTable, type Reading } from '../table.ts'
import { type AnnotationNames, isManaged, readLease } from './annotations.ts'
import { ApiError } from './api_error.ts'
import { followNodes } from './follow.ts'
import type { NodeObject } from './node_object.ts'
import type { NodeSource } from './node_source.ts'
import type { Recall } from './recall.ts'
import type { Session } from './session.ts'

export interface PeerParts {
  readonly session: Session
  readonly source: NodeSource
  readonly names: AnnotationNames
  readonly recall: Recall
}

/** More Nodes than this are read as a list, fewer one by one. */
const fewNodes = 50

/** All Nodes' leases as LeaseStore.watch promises them. */
export async function* watchPeers(
  parts: PeerParts,
  signal: AbortSignal,
): AsyncGenerator<LeaseTableChange, void, undefined> {
  const table = new LiveTable()
  const left = new AbortController()
  const until = AbortSignal.any([signal, left.signal])
  const feed = new PeerFeed(parts, table)
  const feeding = Promise.all([feed.run(until), feed.recall(until)]).catch((error: unknown) => {
    if (!until.aborted) table.fail(error)
  })
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
 * which comes whole, or by itself when a Node begins to be a peer.
 */
class PeerFeed {
  readonly #parts: PeerParts
  readonly #table: LiveTable
  readonly #known = new Map<string, Known>()
  /** Whether the API server has said who there is. */
  listed = false

  constructor(parts: PeerParts, table: LiveTable) {
    this.#parts = parts
    this.#table = table
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
      annotationStem: names.stem,
    }
    for await (const step of followNodes(following, signal)) {
      if (step.type === 'all') await this.#list(step.nodes.splice(0), signal)
      else if (step.type === 'put') await this.#put(step.node, signal)
      else this.#forget(step.node.name)
    }
  }

  async #list(nodes: readonly NodeObject[], signal: AbortSignal): Promise<void> {
    const present = new Set(nodes.map(node => node.name))
    for (const name of [...this.#known.keys()]) if (!present.has(name)) this.#forget(name)
    for (const node of nodes) this.#learn(node)
    await this.#learnMany(nodes, signal)
    const readings: Reading[] = []
    for (const node of nodes) readings.push(...(await this.#read(node, signal)))
    this.listed = true
    this.#table.list(readings)
  }

  /** The leases of last time, as long as the API server has said nothing. */
  async recall(signal: AbortSignal): Promise<void> {
    const cached = await this.#parts.recall.whenAway(signal)
    if (cached !== undefined && !this.listed) this.#table.list(cached.leases)
  }

  /** Most events are heartbeats, which change nothing here. */
  async #put(node: NodeObject, signal: AbortSignal): Promise<void> {
    const known = this.#known.get(node.name)
    const settled = known !== undefined && (known.podCidrs.length > 0 || !isManaged(node, this.#parts.names))
    if (settled && known.uid === node.uid && known.words === wordsOf(node)) return
    const readings = await this.#read(node, signal)
    if (readings.length === 0) this.#table.remove(node.name)
    for (const reading of readings) this.#table.put(reading)
  }

  #forget(name: string): void {
    this.#known.delete(name)
    this.#table.remove(name)
  }

  /**
   * What the table is to hold for it: nothing where it is no peer. A lease of which a part cannot be read is taken in
   * part where there was none before, and stays as it was where there was.
   */
  async #read(node: NodeObject, signal: AbortSignal): Promise<readonly Reading[]> {
    const { names } = this.#parts
    const known = this.#knownAs(node)
    known.words = wordsOf(node)
    if (!isManaged(node, names)) {
      known.leased = false
      return []
    }
    if (known.podCidrs.length === 0) await this.#fetch(node, signal)
    const { lease, problem } = readLease({ ...node, podCidrs: known.podCidrs }, names)
    const stood = known.leased
    known.leased ||= lease !== undefined
    if (problem === undefined) return lease === undefined ? [] : [lease]
    return lease === undefined || stood ? [problem] : [lease, problem]
  }

  /** A Node of that name that is another one has nothing to do with the lease that stands. */
  #knownAs({ name, uid }: NodeObject): Known {
    const before = this.#known.get(name)
    if (before?.uid === uid) return before
    if (before !== undefined) this.#table.remove(name)
    const known = { uid, podCidrs: [], words: '', leased: false }
    this.#known.set(name, known)
    return known
  }

  /** Where the Node is gone meanwhile, or another one, the watch will say so. */
  async #fetch({ name, uid }: NodeObject, signal: AbortSignal): Promise<void> {
    const { session, source } = this.#parts
    try {
      const whole = await session.persist('read a Node', () => source.get(name, signal), signal, [404])
      if (whole.uid === uid) this.#learn(whole)
    } catch (cause) {
      if (!(cause instanceof ApiError && cause.status === 404)) throw cause
    }
  }

  #learn(node: NodeObject): void {
    if (node.podCidrs !== undefined && node.podCidrs.length > 0) this.#knownAs(node).podCidrs = node.podCidrs
  }

  /** After a long time away many Nodes may be new: a list is a hundredth of the requests. */
  async #learnMany(nodes: readonly NodeObject[], signal: AbortSignal): Promise<void> {
    const { session, source, names } = this.#parts
    const lacking = nodes.filter(
      node => node.podCidrs === undefined && isManaged(node, names) && !this.#knownAs(node).podCidrs.length,
    )
    if (lacking.length <= fewNodes) return
    const uids = new Set(lacking.map(node => node.uid))
    const list = await session.persist(
      'list all Nodes',
      () => source.list('whole', undefined, signal),
      signal,
    )
    for (const node of list.nodes) if (uids.has(node.uid)) this.#learn(node)
  }
}

/** What is kept of a Node from one event to the next. */
interface Known {
  readonly uid: string
  /** Empty where none is assigned yet. */
  podCidrs: readonly string[]
  /** What it said when it was read last. */
  words: string
  /** Whether the table has a lease of it. */
  leased: boolean
}

/** All of a Node that its lease is made of, but for the podCIDRs, which the uid stands for. */
function wordsOf({ annotations }: NodeObject): string {
  return [...annotations].join('\n')
}
