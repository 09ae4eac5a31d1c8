import { WakeUp } from '../../common/wake_up.ts'
import type { LeaseTableChange } from '../../lease.ts'
import type { NetworkConfig } from '../../network_config/network_config.ts'
import { LiveTable } from '../../table.ts'
import { followNodes, type NodeStep } from '../nodes/follow.ts'
import type { NodeSource } from '../nodes/node_source.ts'
import type { LastSeen } from './last_seen.ts'
import { type NodeLeaseParts, NodeLeases } from './node_leases.ts'
import { PodCidrs } from './pod_cidrs.ts'

export interface PeerParts extends NodeLeaseParts {
  readonly source: NodeSource
  readonly lastSeen: LastSeen
  /** Undefined where not known. */
  readonly network: NetworkConfig | undefined
}

/** All Nodes' leases, as LeaseStore.watch promises. */
export async function* watchPeers(
  parts: PeerParts,
  signal: AbortSignal,
): AsyncGenerator<LeaseTableChange, void, undefined> {
  const table = new LiveTable(parts.network)
  const left = new AbortController()
  const until = AbortSignal.any([signal, left.signal])
  const feed = new PeerFeed(parts, table)
  const feeding = Promise.all([feed.run(until), feed.readPodCidrs(until), feed.useLastSeen(until)]).catch(
    (error: unknown) => {
      if (!until.aborted) table.fail(error)
    },
  )
  try {
    for await (const change of table.watch(signal)) {
      if (feed.listed) parts.lastSeen.noteLeases(() => change.table.values())
      yield change
    }
  } finally {
    left.abort()
    await feeding
  }
}

/**
 * Feeds the table: a first list of whole Nodes, then a watch of their metadata, where all changes of leases
 * show. While many Nodes join, whose podCIDRs the metadata lack, it watches whole Nodes instead.
 */
class PeerFeed {
  readonly #parts: PeerParts
  readonly #table: LiveTable
  readonly #leases: NodeLeases
  readonly #podCidrs: PodCidrs
  /** The version of the last step taken. */
  #version: string | undefined
  /** Ends the watch of metadata when the watch of whole Nodes takes over. */
  #replaced = new AbortController()
  readonly #wholeEnded = new WakeUp()

  constructor(parts: PeerParts, table: LiveTable) {
    this.#parts = parts
    this.#table = table
    this.#podCidrs = new PodCidrs({
      source: parts.source,
      found: node => this.#leases.found(node),
      failed: (name, cause) => this.#leases.failed(name, cause),
      onStep: step => this.#takeWhole(step),
      onEnded: () => {
        if (this.#replaced.signal.aborted) this.#wholeEnded.set()
      },
    })
    this.#leases = new NodeLeases(parts, table, this.#podCidrs)
  }

  /** Whether the API server has listed all Nodes. */
  get listed(): boolean {
    return this.#leases.listed
  }

  async run(signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.#followMetadata(signal)
      await this.#wholeEnded.wait(Number.POSITIVE_INFINITY, signal)
    }
  }

  /** Follows metadata until the watch of whole Nodes takes over. */
  async #followMetadata(signal: AbortSignal): Promise<void> {
    const { source } = this.#parts
    const replaced = new AbortController()
    this.#replaced = replaced
    const following = { source, what: 'all Nodes', from: this.#version, depth: 'metadata' } as const
    try {
      for await (const steps of followNodes(following, AbortSignal.any([signal, replaced.signal])))
        for (const step of steps) {
          if (replaced.signal.aborted) return
          this.#take(step)
        }
    } catch (error) {
      if (signal.aborted || !replaced.signal.aborted) throw error
    }
  }

  /**
   * A step of the watch of whole Nodes. The first one ends the watch of metadata; steps that the metadata
   * watch has already taken are skipped.
   */
  #takeWhole(step: NodeStep): void {
    if (!this.#replaced.signal.aborted) {
      this.#replaced.abort(new Error('whole Nodes are watched instead'))
      this.#parts.source.session.retrier.clear('watch all Nodes')
    }
    if (step.type === 'all' || isNewer(step.version, this.#version)) this.#take(step)
  }

  #take(step: NodeStep): void {
    this.#version = step.version
    if (step.type === 'all') this.#leases.list(step.nodes.splice(0))
    else if (step.type === 'put') this.#leases.put(step.node, step.after)
    else this.#leases.forget(step.node.name)
  }

  readPodCidrs(signal: AbortSignal): Promise<never> {
    return this.#podCidrs.run(signal)
  }

  /** Uses the cached leases while the API server has listed nothing. */
  async useLastSeen(signal: AbortSignal): Promise<void> {
    const cached = await this.#parts.lastSeen.whenAway(signal)
    if (cached !== undefined && !this.listed) this.#table.list(cached.leases)
  }
}

/**
 * resourceVersions are growing numbers (KEP-5504, which conformance demands since 1.35; before that,
 * revisions of etcd). Where they are not, a few events are taken twice.
 */
function isNewer(version: string, than = ''): boolean {
  const [a, b] = [Number(version), Number(than)]
  return Number.isNaN(a) || Number.isNaN(b) || a > b
}
