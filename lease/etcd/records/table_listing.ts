import { ownText } from '../../common/own_text.ts'
import type { Lease, LeaseTable } from '../../lease.ts'
import type { NetworkConfig } from '../../network_config/network_config.ts'
import { isOfNetwork, keyOf, MOST_REFUSED, type Reading } from '../../table.ts'
import { decodeLease, WireError } from '../../wire.ts'
import type { KeyValue } from '../client/keys.ts'
import type { EtcdContext } from './context.ts'
import { contradicts } from './history.ts'

/**
 * What the lease table takes from one listing of all subnet keys. Clients may write any number of keys: what
 * is no lease of the network is kept only MOST_REFUSED times, or where `table` has its key.
 */
export class TableListing {
  readonly #ctx: EtcdContext
  readonly #network: NetworkConfig | undefined
  readonly #table: LeaseTable
  readonly #known: LeaseTable
  readonly #knownRevision: number
  leases: Lease[] = []
  refused: Reading[] = []
  /** The newest key. */
  witness: KeyValue | undefined
  /** Whether a key proves that etcd has another history than the table last seen. */
  isOther = false
  revision = 0

  constructor(ctx: EtcdContext, network: NetworkConfig | undefined, table: LeaseTable = new Map()) {
    this.#ctx = ctx
    this.#network = network
    this.#table = table
    this.#known = new Map(ctx.lastSeen.leases.map(lease => [lease.node, lease]))
    this.#knownRevision = ctx.lastSeen.at?.revision ?? 0
  }

  /**
   * The listing of that revision, and what this node changed since: the watch from there on tells it again.
   */
  after(revision: number, removed: ReadonlySet<string>, own: KeyValue): this {
    const isLeft = (reading: Reading) => !removed.has(this.#ctx.folder + keyOf(reading))
    this.leases = this.leases.filter(isLeft)
    this.refused = this.refused.filter(isLeft)
    this.read(own)
    this.revision = revision
    return this
  }

  read(kv: KeyValue): Reading {
    if (kv.modRevision > (this.witness?.modRevision ?? 0)) this.witness = kv
    const reading = readKey(this.#ctx.folder, kv)
    const key = keyOf(reading)
    if (isOfNetwork(this.#network, reading)) {
      this.isOther ||= contradicts(this.#known, this.#knownRevision, kv, key)
      this.leases.push(reading)
    } else if (this.refused.length < MOST_REFUSED || this.#table.has(key)) this.refused.push(reading)
    return reading
  }
}

export function readKey(folder: string, kv: KeyValue): Reading {
  const key = ownText(kv.key.slice(folder.length))
  try {
    return decodeLease(key, kv.value, kv.createRevision)
  } catch (error) {
    if (error instanceof WireError) return { key, reason: error.message }
    throw error
  }
}
