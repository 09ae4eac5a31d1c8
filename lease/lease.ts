import type { BackendData } from './backend_data.ts'
import type { Ip } from './net/ip.ts'
import type { Prefix } from './net/prefix.ts'

/** What one node owns in one family, and where to send what is for it. */
export interface Subnet {
  readonly prefix: Prefix
  /** Where the node is reached on the underlay; of the prefix's family. */
  readonly publicIp: Ip
  /** What the node published for its backend. */
  readonly backendData: BackendData
}

/** One node's lease: at least one subnet, at most one a family, IPv4 first. */
export interface Lease {
  /** The holder, unique in a table: the Node's name in Kubernetes, the subnet key (`10.1.5.0-24`) in etcd. */
  readonly node: string
  /** Lower case: `vxlan`, `host-gw`, ... */
  readonly backendType: string
  readonly subnets: readonly Subnet[]
  /**
   * Age: of leases that are seen at once and claim the same thing, the smaller is the older and wins. etcd's create_revision, a Node's
   * creationTimestamp in ms. Comparable within one store only.
   */
  readonly since: number
}

/**
 * All leases of a network by `node`, one's own among them. A table from a watch is live: it keeps changing, and each
 * change is told afterwards. Iterate over it in one go, and copy what has to stay as it was; the leases never change.
 */
export type LeaseTable = ReadonlyMap<string, Lease>

/** Something in the store that should be a lease and is none; nothing is ever removed because of it. */
export interface LeaseProblem {
  /** The key or Node it stands under. */
  readonly key: string
  /** Names the value and the rule that it breaks, and what to do. */
  readonly reason: string
}

/** A complete table, and which of its nodes may differ from what was told before (all, in the first one). */
export interface LeaseTableChange {
  readonly table: LeaseTable
  readonly changed: ReadonlySet<string>
  /** All that stand when they are asked for, not only the new ones; at most some thousand. */
  readonly problems: readonly LeaseProblem[]
}

/** `10.1.5.0/24 + fd00::/64 at 192.168.0.7`: how a lease is named to an operator. */
export function printLease(lease: Lease): string {
  const prefixes = lease.subnets.map(subnet => subnet.prefix).join(' + ')
  return `${prefixes} at ${lease.subnets.map(subnet => subnet.publicIp).join(' + ')}`
}
