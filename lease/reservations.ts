import type { Ip } from './net/ip.ts'
import type { Prefix } from './net/prefix.ts'
import type { StoreHealth } from './store.ts'

/** Subnets reserved by a node's public IP: its lease on them never expires, whether it runs or not. */
export interface Reservations {
  /**
   * One subnet and one public IP for each family, IPv4 first. A lease that the node holds on them becomes a
   * reservation and keeps its value. Rejects with LeaseRefusedError where another node holds part of them, or
   * they do not fit the network config.
   */
  reserve(
    subnets: readonly Prefix[],
    publicIps: readonly Ip[],
    signal: AbortSignal,
  ): Promise<'reserved' | 'was reserved'>

  /**
   * `removed`: no node had published anything under the reservation. `runs out`: the value that a node
   * published stays, as a lease that this node renews while it runs. Rejects with LeaseRefusedError where
   * there is no such reservation.
   */
  release(subnets: readonly Prefix[], signal: AbortSignal): Promise<'removed' | 'runs out'>

  health(): StoreHealth

  close(): Promise<void>
}
