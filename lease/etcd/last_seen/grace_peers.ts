import type { Lease } from '../../lease.ts'
import type { Ip } from '../../net/ip.ts'
import { PrefixIndex } from '../../net/prefix_index.ts'

/** Peers whose leases the store lost with its data, each for a time or until a lease takes its place. */
export class GracePeers {
  readonly #leases = new Map<string, { readonly lease: Lease; readonly until: number }>()

  /** `until` is on the monotonic clock. A peer that is already kept keeps its time. */
  add(leases: Iterable<Lease>, until: number): void {
    for (const lease of leases)
      if (!this.#leases.has(lease.node)) this.#leases.set(lease.node, { lease, until })
  }

  /** Removes peers whose time is over or whose place is claimed; returns those without a current lease. */
  settle(current: Iterable<Lease>, now: number): readonly string[] {
    if (this.#leases.size === 0) return []
    const nodes = new Set<string>()
    const publicIps = new Set<Ip>()
    const prefixes = new PrefixIndex<true>()
    for (const lease of current) {
      nodes.add(lease.node)
      for (const { prefix, publicIp } of lease.subnets) {
        publicIps.add(publicIp)
        prefixes.add(prefix, true)
      }
    }
    const gone: string[] = []
    for (const [node, { lease, until }] of this.#leases) {
      const isClaimed = lease.subnets.some(
        ({ prefix, publicIp }) => publicIps.has(publicIp) || [...prefixes.overlapping(prefix)].length > 0,
      )
      if (!isClaimed && until > now) continue
      this.#leases.delete(node)
      if (!nodes.has(node)) gone.push(node)
    }
    return gone
  }

  get leases(): readonly Lease[] {
    return [...this.#leases.values()].map(({ lease }) => lease)
  }

  get firstEnd(): number | undefined {
    let first: number | undefined
    for (const { until } of this.#leases.values()) first = Math.min(first ?? until, until)
    return first
  }

  /** The time left in ms, by name. */
  left(now: number): readonly (readonly [string, number])[] {
    return [...this.#leases].map(([node, { until }]) => [node, until - now])
  }
}
