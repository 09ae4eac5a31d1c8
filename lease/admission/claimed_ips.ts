import type { Ip } from '../net/ip.ts'

/** Which nodes claim which public IP. An IP that several nodes claim is no conflict, but is reported. */
export class ClaimedIps {
  /** Public IPs that several nodes claim, and which nodes. Live: it changes with `settle`. */
  readonly shared = new Map<Ip, readonly string[]>()
  readonly #nodes = new Map<Ip, string[]>()

  nodesAt(ip: Ip): readonly string[] {
    return this.#nodes.get(ip) ?? []
  }

  add(ip: Ip, node: string): void {
    const nodes = this.#nodes.get(ip)
    if (nodes === undefined) this.#nodes.set(ip, [node])
    else nodes.push(node)
  }

  delete(ip: Ip, node: string): void {
    const nodes = this.#nodes.get(ip) ?? []
    const at = nodes.indexOf(node)
    if (at >= 0) nodes.splice(at, 1)
    if (nodes.length === 0) this.#nodes.delete(ip)
  }

  /** Call once an update has added all claims of the IP: thousands of them may have the same. */
  settle(ip: Ip): void {
    const nodes = this.nodesAt(ip)
    if (nodes.length < 2) this.shared.delete(ip)
    else this.shared.set(ip, [...nodes])
  }

  clear(): void {
    this.#nodes.clear()
    this.shared.clear()
  }
}
