import type { Lease } from '../../lease/lease.ts'
import type { Ip } from '../../lease/net/ip.ts'

/** The leases of the peers that have entries, by node, as they were when the entries were derived. */
export class DerivedLeases extends Map<string, Lease> {
  readonly #onPublicIp: (ip: Ip) => void

  /** `onPublicIp` is called for each public IP of a lease that is added, replaced or removed. */
  constructor(onPublicIp: (ip: Ip) => void) {
    super()
    this.#onPublicIp = onPublicIp
  }

  get publicIps(): ReadonlySet<Ip> {
    const leases = [...this.values()]
    return new Set(leases.flatMap(({ subnets }) => subnets.map(({ publicIp }) => publicIp)))
  }

  hasPublicIp(node: string, ip: Ip): boolean {
    return this.get(node)?.subnets.some(({ publicIp }) => publicIp === ip) ?? false
  }

  override set(node: string, lease: Lease): this {
    const before = this.get(node)
    super.set(node, lease)
    this.#reportIps(before, lease)
    return this
  }

  override delete(node: string): boolean {
    const before = this.get(node)
    const isThere = super.delete(node)
    this.#reportIps(before)
    return isThere
  }

  #reportIps(...leases: readonly (Lease | undefined)[]): void {
    for (const lease of leases) for (const { publicIp } of lease?.subnets ?? []) this.#onPublicIp(publicIp)
  }
}
