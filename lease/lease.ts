import type { BackendData } from './backend_data.ts'
import { type Family, familyOf, type Ip } from './net/ip.ts'
import { contains, type Prefix } from './net/prefix.ts'

/** What one node owns in one family, and where packets for it are sent. */
export interface Subnet {
  readonly prefix: Prefix
  /** The node's address on the underlay; of the prefix's family. */
  readonly publicIp: Ip
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
   * Age: the lease with the smaller value wins where several appear together and claim the same. etcd:
   * create_revision. Kubernetes: creationTimestamp in ms. Comparable within one store only.
   */
  readonly since: number
}

/**
 * All leases of a network by `node`, also our own. A watch's table is live, changed before each report:
 * iterate without awaiting, copy what must stay. A lease object never changes.
 */
export type LeaseTable = ReadonlyMap<string, Lease>

/** A value in the store that should be a lease and is none. Nothing is ever removed because of it. */
export interface LeaseProblem {
  readonly key: string
  /** Names the value and the rule that it breaks, and what to do. */
  readonly reason: string
}

/** A complete table, and the nodes whose lease may differ since the last change (at first: all). */
export interface LeaseTableChange {
  readonly table: LeaseTable
  readonly changed: ReadonlySet<string>
  /** All problems at the time of reading, not only new ones; at most MOST_REFUSED of them. */
  readonly problems: readonly LeaseProblem[]
}

/** The lease's subnet of that family; undefined where it has none. */
export function subnetOf(lease: Lease | undefined, family: Family): Subnet | undefined {
  return lease?.subnets.find(({ prefix }) => familyOf(prefix) === family)
}

/** Whether the address is in one of the lease's subnets. */
export function holds({ subnets }: Lease, ip: Ip): boolean {
  return subnets.some(({ prefix }) => contains(prefix, ip))
}

/** `10.1.5.0/24 + fd00::/64 at 192.168.0.7`: how a lease is named to an operator. */
export function printLease(lease: Lease): string {
  const prefixes = lease.subnets.map(subnet => subnet.prefix).join(' + ')
  return `${prefixes} at ${lease.subnets.map(subnet => subnet.publicIp).join(' + ')}`
}
