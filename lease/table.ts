import { isSameBackendData } from './backend_data.ts'
import { WakeUp } from './common/wake_up.ts'
import type { Lease, LeaseProblem, LeaseTable, LeaseTableChange, Subnet } from './lease.ts'
import { contains } from './net/prefix.ts'
import type { NetworkConfig } from './network_config/network_config.ts'

/** The result of reading one key: a lease (`node` is the key), or why there is none. */
export type Reading = Lease | LeaseProblem

/** Most problems, and most leases outside of the network, that are kept: clients may write any number. */
export const MOST_REFUSED = 1_000

/** What changed since one caller of `watch` last took it. Never more keys than the table has had. */
interface Taker {
  changed: Set<string>
  readonly due: WakeUp
}

/**
 * Builds the lease table from what a store reads, and hands it out as LeaseStore.watch promises. Two rules
 * protect the peers:
 *
 * - Nothing is handed out before the first complete list, so that no peer counts as gone too early.
 * - A value that is no lease removes nothing: the last good lease of its key stays until the key itself is
 *   gone, and the problem is reported beside it.
 *
 * Leases outside of the network are never programmed; it keeps at most MOST_REFUSED of them.
 */
export class LiveTable {
  readonly #leases = new Map<string, Lease>()
  readonly #problems = new Map<string, LeaseProblem>()
  readonly #takers = new Set<Taker>()
  #listed = false
  #failure: { readonly error: unknown } | undefined
  #problemList: readonly LeaseProblem[] | undefined
  /** Keys of leases outside of the network. */
  readonly #outside = new Set<string>()

  /** Live, and one table for all callers: a copy would cost the whole table for each change. */
  readonly table: LeaseTable = this.#leases

  /** Undefined where the config is not known; every lease then counts as inside. */
  readonly network: NetworkConfig | undefined

  constructor(network: NetworkConfig | undefined) {
    this.network = network
  }

  get problems(): readonly LeaseProblem[] {
    this.#problemList ??= [...this.#problems.values()]
    return this.#problemList
  }

  /** Takes a complete list: removes the keys that are not in it. */
  list(readings: Iterable<Reading>): void {
    const read = new Set<string>()
    for (const reading of readings) {
      read.add(keyOf(reading))
      this.put(reading)
    }
    for (const key of [...this.#leases.keys(), ...this.#problems.keys()]) if (!read.has(key)) this.remove(key)
    if (!this.#listed) {
      this.#listed = true
      this.#wakeAll()
    }
  }

  /** Ends every `watch`, which rejects with the error: the store has failed. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#wakeAll()
  }

  /**
   * Yields the live table once it is complete, with all keys as changed, and after each change; merges
   * changes between two takes. Rejects with the signal's reason.
   */
  async *watch(signal: AbortSignal): AsyncGenerator<LeaseTableChange, never, undefined> {
    const taker: Taker = { changed: new Set(this.#leases.keys()), due: new WakeUp() }
    if (this.#listed || this.#failure !== undefined) taker.due.set()
    this.#takers.add(taker)
    try {
      while (true) {
        await taker.due.wait(Number.POSITIVE_INFINITY, signal)
        if (this.#failure !== undefined) throw this.#failure.error
        const { changed } = taker
        taker.changed = new Set()
        const live = this
        yield {
          table: this.table,
          changed,
          // A getter, because few callers read it: making the list for each of thousands of changes would be
          // costly.
          get problems() {
            return live.problems
          },
        }
      }
    } finally {
      this.#takers.delete(taker)
    }
  }

  put(read: Reading): void {
    const key = keyOf(read)
    const before = this.#leases.get(key)
    const reading = before === undefined ? read : judged(before, read)
    if ('reason' in reading) {
      if (this.#problems.get(key)?.reason === reading.reason) return
      if (this.#problems.size >= MOST_REFUSED && !this.#problems.has(key)) return
      this.#problems.set(key, reading)
      this.#touch()
      return
    }
    if (isOfNetwork(this.network, reading)) this.#outside.delete(key)
    else if (!this.#takeOutside(key)) return
    if (this.#problems.delete(key)) this.#touch()
    if (before !== undefined && isSame(before, reading)) return
    this.#leases.set(key, reading)
    this.#touch(key)
  }

  /** False where MOST_REFUSED others are kept: then the key is removed. */
  #takeOutside(key: string): boolean {
    const isFull = this.#outside.size >= MOST_REFUSED && !this.#outside.has(key)
    if (isFull) this.remove(key)
    else this.#outside.add(key)
    return !isFull
  }

  remove(key: string): void {
    this.#outside.delete(key)
    if (this.#problems.delete(key)) this.#touch()
    if (this.#leases.delete(key)) this.#touch(key)
  }

  #touch(key?: string): void {
    this.#problemList = undefined
    if (key !== undefined) for (const taker of this.#takers) taker.changed.add(key)
    if (this.#listed) this.#wakeAll()
  }

  #wakeAll(): void {
    for (const taker of this.#takers) taker.due.set()
  }
}

/** Whether it is a lease with at least one subnet in the network. */
export function isOfNetwork(network: NetworkConfig | undefined, reading: Reading): reading is Lease {
  if ('reason' in reading) return false
  const isInside = ({ prefix }: Subnet) =>
    network?.families.some(family => contains(family.network, prefix)) ?? true
  return reading.subnets.some(isInside)
}

export function keyOf(reading: Reading): string {
  return 'reason' in reading ? reading.key : reading.node
}

/** What a new value means where the key has a lease already. */
function judged(before: Lease, read: Reading): Reading {
  if ('reason' in read || !hasLostData(before, read)) return read
  return { key: read.node, reason: 'its backend data (VNI, VTEP MAC) is gone: what it had before stays' }
}

/** Only its backend data is gone: rewritten by a program that does not know them. flanneld keeps it too. */
function hasLostData(before: Lease, now: Lease): boolean {
  const hasData = ({ backendData }: Subnet) => backendData !== undefined
  // Nearly every lease ends here: this runs for each change of each peer.
  if (now.subnets.some(hasData) || before.subnets.length === 0 || !before.subnets.every(hasData)) return false
  const restored = now.subnets.map((subnet, i) => ({
    ...subnet,
    backendData: before.subnets[i]?.backendData,
  }))
  return isSame(before, { ...now, subnets: restored })
}

/** Whether two leases of one node are equal. */
function isSame(a: Lease, b: Lease): boolean {
  return (
    a.since === b.since &&
    a.backendType === b.backendType &&
    a.subnets.length === b.subnets.length &&
    a.subnets.every((subnet, i) => {
      const other = b.subnets[i]
      return (
        subnet.prefix === other?.prefix &&
        subnet.publicIp === other.publicIp &&
        isSameBackendData(subnet.backendData, other.backendData)
      )
    })
  )
}
