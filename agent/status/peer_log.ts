import type { Log } from '../../lease/common/log.ts'
import { ReportOnce } from '../../lease/common/report_once.ts'
import { type Lease, type LeaseProblem, type LeaseTable, printLease } from '../../lease/lease.ts'
import type { Ip } from '../../lease/net/ip.ts'

/** So many changed peers get a line each; beyond, their number has to do. */
const NAMED = 20

/** Says which peers came, went and changed, and which leases cannot be used and why; each thing once. */
export class PeerLog {
  readonly #log: Log
  /** The leases themselves, which the table keeps anyway: their print would be one more string a peer. */
  #known = new Map<string, Lease>()
  readonly #refused = new ReportOnce()
  readonly #shared = new Set<Ip>()

  constructor(log: Log) {
    this.#log = log
  }

  /** `changed` are the nodes that may differ; `self` is no peer. */
  write(table: LeaseTable, changed: ReadonlySet<string>, self: string): void {
    const lines: [string, Lease | undefined, string | undefined][] = []
    for (const node of changed) {
      if (node === self) continue
      const lease = table.get(node)
      const known = this.#known.get(node)
      const was = known && printLease(known)
      if (lease === undefined) this.#known.delete(node)
      else this.#known.set(node, lease)
      if ((lease && printLease(lease)) !== was) lines.push([node, lease, was])
    }
    if (lines.length > NAMED) {
      this.#log.info({ changed: lines.length, peers: this.#known.size }, 'peers changed')
      return
    }
    for (const [node, lease, was] of lines) {
      if (lease === undefined) this.#log.info({ node, lease: was }, 'peer left')
      else
        this.#log.info(
          { node, lease: printLease(lease), was },
          was === undefined ? 'peer joined' : 'peer changed',
        )
    }
  }

  /** Public IPs that several leases have, once each. */
  writeShared(shared: ReadonlyMap<Ip, readonly string[]>): void {
    for (const ip of this.#shared) if (!shared.has(ip)) this.#shared.delete(ip)
    for (const [publicIp, nodes] of shared) {
      if (this.#shared.has(publicIp)) continue
      this.#shared.add(publicIp)
      this.#log.warn(
        { publicIp, nodes: nodes.slice(0, NAMED) },
        'several leases have one public IP: all are programmed; remove the lease of a node that is gone',
      )
    }
  }

  /** All that is refused now: by the store, by the rules for leases, by the backend. */
  writeRefused(refused: ReadonlyMap<string, string>, problems: readonly LeaseProblem[]): void {
    const now = new Map([...refused, ...problems.map(({ key, reason }): [string, string] => [key, reason])])
    this.#refused.settle(
      now,
      (node, reason) => this.#log.warn({ node, reason }, 'lease refused: not programmed'),
      node => this.#log.info({ node }, 'lease no longer refused'),
    )
  }
}
