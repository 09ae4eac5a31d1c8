import type { Lease, LeaseTable } from '../../../lease/lease.ts'
import type { Ip } from '../../../lease/net/ip.ts'
import type { Backend, Underlay } from '../../backend/backend.ts'
import type { Entry } from '../../state/entry.ts'
import type { HostFacts } from '../host_facts.ts'

export interface TraceInput {
  readonly facts: HostFacts
  readonly backend: Backend
  readonly underlay: Underlay
  readonly leases: LeaseTable
  readonly self: Lease | undefined
  /** Why agents refuse a lease, by node. */
  readonly refused: ReadonlyMap<string, string>
  /** `answers`: a packet of the other side. `both`: pods on either side open connections. Else `opens`. */
  readonly connection?: 'opens' | 'answers' | 'both'
}

/** One packet on its way, with all facts that its hops check. */
export interface Walk extends TraceInput {
  readonly self: Lease
  readonly from: Ip
  readonly to: Ip
  /** Whether `from` is an address of the host itself: nothing is forwarded then. */
  readonly fromHost: boolean
  readonly wanted: readonly Entry[]
  readonly peerIp: Ip
}
