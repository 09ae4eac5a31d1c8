import type { Ip } from './net/ip.ts'
import type { Prefix } from './net/prefix.ts'
import type { StoreHealth } from './store.ts'

export type Reserved = 'reserved' | 'was reserved'
export type Released = 'removed' | 'runs out'

/** Subnets reserved by a node's public IP: its lease on them never expires, whether it runs or not. */
export interface Reservations {
  /**
   * One subnet and public IP for each family. A lease that the node holds becomes a reservation with its
   * value. Rejects with LeaseRefusedError where another node holds part of it, or it does not fit the network
   * config.
   */
  reserve(subnets: readonly Prefix[], publicIps: readonly Ip[], signal: AbortSignal): Promise<Reserved>

  /**
   * `removed`: no node had used it. `runs out`: a node's value stays as a lease, which it renews while it
   * runs. Rejects with LeaseRefusedError where there is no such reservation.
   */
  release(subnets: readonly Prefix[], signal: AbortSignal): Promise<Released>

  health(): StoreHealth

  close(): Promise<void>
}
