import type { Lease } from '../lease.ts'
import type { Ip } from '../net/ip.ts'
import { PrefixIndex } from '../net/prefix_index.ts'

/**
 * Peers that a store which lost its data does not name any more. They are believed in until something that stands claims
 * one of their subnets or public IPs, or their time is over.
 */
export class Remembered {
  readonly #leases = new Map<string, { readonly lease: Lease; readonly until: number }>()

  /** `until` on the clock that never jumps. One that is remembered already keeps its time. */
  add(leases: Iterable<Lease>, until: number): void {
    for (const lease of leases)
      if (!this.#leases.has(lease.node)) this.#leases.set(lease.node, { lease, until })
  }

  /** Forgets what `standing` contradicts and what is over at `now`. Returns those of them that do not stand. */
  settle(standing: Iterable<Lease>, now: number): readonly string[] {
    if (this.#leases.size === 0) return []
    const nodes = new Set<string>()
    const publicIps = new Set<Ip>()
    const prefixes = new PrefixIndex<true>()
    for (const lease of standing) {
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

  /** When the first one's time is over; undefined where there is none. */
  get firstEnd(): number | undefined {
    let first: number | undefined
    for (const { until } of this.#leases.values()) first = Math.min(first ?? until, until)
    return first
  }

  /** What is left of each one's time in ms, by name. */
  left(now: number): readonly (readonly [string, number])[] {
    return [...this.#leases].map(([node, { until }]) => [node, until - now])
  }
}
