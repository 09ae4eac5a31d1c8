import { MultiMap } from '../common/multi_map.ts'
import type { Ip } from '../net/ip.ts'

/** Which nodes claim which public IP. An IP that several nodes claim is no conflict, but is reported. */
export class ClaimedIps extends MultiMap<Ip, string> {
  /** Public IPs that several nodes claim, and which nodes. Live: it changes with `settle`. */
  readonly shared = new Map<Ip, readonly string[]>()

  /** Call once an update has added all claims of the IP: thousands of them may have the same. */
  settle(ip: Ip): void {
    const nodes = this.get(ip)
    if (nodes.length < 2) this.shared.delete(ip)
    else this.shared.set(ip, nodes)
  }

  override clear(): void {
    super.clear()
    this.shared.clear()
  }
}
