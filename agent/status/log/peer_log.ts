import type { Log } from '../../../lease/common/log.ts'
import { ReportOnce } from '../../../lease/common/report_once.ts'
import { type Lease, type LeaseTable, printLease } from '../../../lease/lease.ts'
import type { Ip } from '../../../lease/net/ip.ts'

/** Changed peers that get a line each; above this, only their number is logged. */
const NAMED = 20

/** Logs once which peers came, left and changed, and which leases are unusable and why. */
export class PeerLog {
  readonly #log: Log
  /** The leases that the table keeps anyway: printed text would cost one more string a peer. */
  #known = new Map<string, Lease>()
  readonly #refused = new ReportOnce()
  readonly #shared = new ReportOnce()

  constructor(log: Log) {
    this.#log = log
  }

  /** `changed` are the nodes that may differ; `self` is not a peer. */
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
      const change = was === undefined ? 'peer joined' : 'peer changed'
      if (lease === undefined) this.#log.info({ node, lease: was }, 'peer left')
      else this.#log.info({ node, lease: printLease(lease), was }, change)
    }
  }

  /** Logs once each public IP that several leases share. */
  writeShared(shared: ReadonlyMap<Ip, readonly string[]>): void {
    const words =
      'several leases have one public IP: all are programmed; remove the lease of a node that is gone'
    for (const [publicIp, nodes] of shared)
      if (this.#shared.isNew(publicIp, words))
        this.#log.warn({ publicIp, nodes: nodes.slice(0, NAMED) }, words)
    this.#shared.retain(shared)
  }

  /** All current refusals by node: by the store, the rules for leases or the backend. */
  writeRefused(refused: ReadonlyMap<string, string>, isProgrammed: (node: string) => boolean): void {
    const inPart = 'lease refused in part: the peer is programmed without that part'
    this.#refused.settle(
      refused,
      (node, reason) =>
        this.#log.warn({ node, reason }, isProgrammed(node) ? inPart : 'lease refused: not programmed'),
      node => this.#log.info({ node }, 'lease no longer refused'),
    )
  }
}
