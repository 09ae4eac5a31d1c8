import { isSameBackendData } from './backend_data.ts'
import { WakeUp } from './common/wake_up.ts'
import type { Lease, LeaseProblem, LeaseTable, LeaseTableChange, Subnet } from './lease.ts'
import { contains } from './net/prefix.ts'
import type { NetworkConfig } from './network_config/network_config.ts'

/** What was read under one key: a lease (`node` is the key), or why there is none. */
export type Reading = Lease | LeaseProblem

/** So many problems and so many leases outside of the network are kept: who may write one may write any number. */
export const MOST_REFUSED = 1_000

/** One taker's slot: what changed since it last took. Never longer than the keys that there are. */
interface Taker {
  changed: Set<string>
  readonly due: WakeUp
}

/**
 * Folds what a store reads into a table, and hands it out as LeaseStore.watch promises. Two rules keep peers alive:
 *
 * - Before the first whole list nothing is handed out, so that nothing can be taken for gone.
 * - A value that is no lease removes nothing: the last good lease of that key stands until the key itself is gone, and
 *   the problem is reported beside it.
 *
 * Of leases that lie outside of the network, which nothing is made of, it holds no more than can be looked at.
 */
export class LiveTable {
  readonly #leases = new Map<string, Lease>()
  readonly #problems = new Map<string, LeaseProblem>()
  readonly #takers = new Set<Taker>()
  #listed = false
  #failure: { readonly error: unknown } | undefined
  #problemList: readonly LeaseProblem[] | undefined
  readonly #network: NetworkConfig | undefined
  /** Their keys. */
  readonly #outside = new Set<string>()

  /** All leases that stand now. Live, one and the same for all takers: a copy would cost each change the whole table. */
  readonly table: LeaseTable = this.#leases

  /** `network`: undefined where it is not known. */
  constructor(network: NetworkConfig | undefined) {
    this.#network = network
  }

  get problems(): readonly LeaseProblem[] {
    this.#problemList ??= [...this.#problems.values()]
    return this.#problemList
  }

  /** A complete listing: keys that are not in it are gone. */
  list(readings: Iterable<Reading>): void {
    const read = new Set<string>()
    for (const reading of readings) {
      read.add(keyOf(reading))
      this.#set(reading)
    }
    for (const key of [...this.#leases.keys(), ...this.#problems.keys()]) if (!read.has(key)) this.#unset(key)
    if (!this.#listed) {
      this.#listed = true
      this.#wakeAll()
    }
  }

  /** One key was written. */
  put(reading: Reading): void {
    this.#set(reading)
  }

  /** One key is gone. */
  remove(key: string): void {
    this.#unset(key)
  }

  /** Whether it is a lease of which a part lies in the network. */
  isOfNetwork(reading: Reading): reading is Lease {
    if ('reason' in reading) return false
    const { families } = this.#network ?? {}
    const isInside = ({ prefix }: Subnet) =>
      families?.some(({ network }) => contains(network, prefix)) ?? true
    return reading.subnets.some(isInside)
  }

  /** Ends every `watch`, which rejects with the error: the store has failed. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#wakeAll()
  }

  /**
   * The live table as soon as it is complete, with all its keys as changed; then again whenever something differs. What
   * changes between two takes is folded into the second. Rejects with the signal's reason.
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
          // Made where it is asked for: not for each of thousands of changes.
          get problems() {
            return live.problems
          },
        }
      }
    } finally {
      this.#takers.delete(taker)
    }
  }

  #set(reading: Reading): void {
    const key = keyOf(reading)
    if ('reason' in reading) {
      if (this.#problems.get(key)?.reason === reading.reason) return
      if (this.#problems.size >= MOST_REFUSED && !this.#problems.has(key)) return
      this.#problems.set(key, reading)
      this.#touch()
      return
    }
    if (this.isOfNetwork(reading)) this.#outside.delete(key)
    else if (!this.#takeOutside(key)) return
    if (this.#problems.delete(key)) this.#touch()
    const before = this.#leases.get(key)
    if (before !== undefined && isSame(before, reading)) return
    this.#leases.set(key, reading)
    this.#touch(key)
  }

  /** Whether there is room for it. */
  #takeOutside(key: string): boolean {
    const isFull = this.#outside.size >= MOST_REFUSED && !this.#outside.has(key)
    if (isFull) this.#unset(key)
    else this.#outside.add(key)
    return !isFull
  }

  #unset(key: string): void {
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

function keyOf(reading: Reading): string {
  return 'reason' in reading ? reading.key : reading.node
}

/** Whether two leases of one node say the same. */
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
