import type { LeaseTableChange } from '../lease.ts'
import { LiveTable, type Reading } from '../table.ts'
import { type AnnotationNames, isManaged, readLease } from './annotations.ts'
import { ApiError } from './api_error.ts'
import { followNodes } from './follow.ts'
import type { NodeObject } from './node_object.ts'
import type { NodeSource } from './node_source.ts'
import type { Session } from './session.ts'

export interface PeerParts {
  readonly session: Session
  readonly source: NodeSource
  readonly names: AnnotationNames
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
  const feeding = new PeerFeed(parts, table).run(until).catch((error: unknown) => {
    if (!until.aborted) table.fail(error)
  })
  try {
    yield* table.watch(signal)
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
  readonly #known = new Map<string, { readonly uid: string; readonly podCidrs: readonly string[] }>()
  /** Nodes that the table has a lease of, by uid. */
  readonly #leased = new Map<string, string>()

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
      if (step.type === 'all') await this.#list(step.nodes, signal)
      else if (step.type === 'put') await this.#put(step.node, signal)
      else this.#delete(step.node.name)
    }
  }

  async #list(nodes: readonly NodeObject[], signal: AbortSignal): Promise<void> {
    const names = new Set(nodes.map(node => node.name))
    for (const name of [...this.#known.keys()]) if (!names.has(name)) this.#delete(name)
    for (const node of nodes) this.#learn(node)
    await this.#learnMany(nodes, signal)
    const readings: Reading[] = []
    for (const node of nodes) {
      const ofNode = await this.#read(node, signal)
      if (ofNode.length === 0) this.#leased.delete(node.name)
      readings.push(...ofNode)
    }
    this.#table.list(readings)
  }

  async #put(node: NodeObject, signal: AbortSignal): Promise<void> {
    const readings = await this.#read(node, signal)
    if (readings.length === 0) this.#drop(node.name)
    for (const reading of readings) this.#table.put(reading)
  }

  #delete(name: string): void {
    this.#known.delete(name)
    this.#drop(name)
  }

  #drop(name: string): void {
    this.#leased.delete(name)
    this.#table.remove(name)
  }

  /**
   * What the table is to hold for it: nothing where it is no peer. A lease of which a part cannot be read is taken in
   * part where there was none before, and stays as it was where there was.
   */
  async #read(node: NodeObject, signal: AbortSignal): Promise<readonly Reading[]> {
    const { names } = this.#parts
    if (!isManaged(node, names)) return []
    const podCidrs = await this.#podCidrs(node, signal)
    if (podCidrs === undefined) return []
    // A Node of that name that is another one has nothing to do with the lease that stands.
    if (this.#leased.has(node.name) && this.#leased.get(node.name) !== node.uid) this.#drop(node.name)
    const { lease, problem } = readLease({ ...node, podCidrs }, names)
    const stands = this.#leased.has(node.name)
    if (lease !== undefined) this.#leased.set(node.name, node.uid)
    const readings: Reading[] = []
    if (lease !== undefined && (problem === undefined || !stands)) readings.push(lease)
    if (problem !== undefined) readings.push(problem)
    return readings
  }

  /** undefined where the Node is gone meanwhile: the watch will say so. */
  async #podCidrs(node: NodeObject, signal: AbortSignal): Promise<readonly string[] | undefined> {
    const { session, source } = this.#parts
    const known = this.#known.get(node.name)
    if (known?.uid === node.uid) return known.podCidrs
    try {
      const whole = await session.persist('read a Node', () => source.get(node.name, signal), signal, [404])
      this.#learn(whole)
      return whole.uid === node.uid ? whole.podCidrs : undefined
    } catch (cause) {
      if (cause instanceof ApiError && cause.status === 404) return undefined
      throw cause
    }
  }

  #learn({ name, uid, podCidrs }: NodeObject): void {
    if (podCidrs !== undefined && podCidrs.length > 0) this.#known.set(name, { uid, podCidrs })
  }

  /** After a long time away many Nodes may be new: a list is a hundredth of the requests. */
  async #learnMany(nodes: readonly NodeObject[], signal: AbortSignal): Promise<void> {
    const { session, source, names } = this.#parts
    const unknown = nodes.filter(
      node => isManaged(node, names) && this.#known.get(node.name)?.uid !== node.uid,
    )
    if (unknown.length <= fewNodes || unknown.every(node => node.podCidrs !== undefined)) return
    const list = await session.persist(
      'list all Nodes',
      () => source.list('whole', undefined, signal),
      signal,
    )
    for (const node of list.nodes) this.#learn(node)
  }
}
