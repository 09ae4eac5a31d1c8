import type { Lease } from '../../lease/lease.ts'
import type { Ip } from '../../lease/net/ip.ts'

/** The leases of the peers that have entries, by node, as they were when the entries were derived. */
export class DerivedLeases {
  readonly #leases = new Map<string, Lease>()
  readonly #onPublicIp: (ip: Ip) => void

  /** `onPublicIp` is called for each public IP of a lease that is added, replaced or removed. */
  constructor(onPublicIp: (ip: Ip) => void) {
    this.#onPublicIp = onPublicIp
  }

  get(node: string): Lease | undefined {
    return this.#leases.get(node)
  }

  has(node: string): boolean {
    return this.#leases.has(node)
  }

  keys(): Iterable<string> {
    return this.#leases.keys()
  }

  get publicIps(): ReadonlySet<Ip> {
    const leases = [...this.#leases.values()]
    return new Set(leases.flatMap(({ subnets }) => subnets.map(({ publicIp }) => publicIp)))
  }

  hasPublicIp(node: string, ip: Ip): boolean {
    return this.#leases.get(node)?.subnets.some(({ publicIp }) => publicIp === ip) ?? false
  }

  set(node: string, lease: Lease): void {
    const before = this.#leases.get(node)
    this.#leases.set(node, lease)
    this.#reportIps(before, lease)
  }

  delete(node: string): void {
    const before = this.#leases.get(node)
    this.#leases.delete(node)
    this.#reportIps(before)
  }

  #reportIps(...leases: readonly (Lease | undefined)[]): void {
    for (const lease of leases) for (const { publicIp } of lease?.subnets ?? []) this.#onPublicIp(publicIp)
  }
}
