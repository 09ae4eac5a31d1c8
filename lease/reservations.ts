import type { Ip } from './net/ip.ts'
import type { Prefix } from './net/prefix.ts'
import type { StoreHealth } from './store.ts'

/** Subnets that are set aside for a node, by its public IP: its lease on them never runs out, whether it runs or not. */
export interface Reservations {
  /**
   * One subnet and public IP a family, IPv4 first. A lease that the node holds on them becomes a reservation as it stands.
   * Rejects with LeaseRefusedError where another node holds part of them, or they do not fit the network config.
   */
  reserve(
    subnets: readonly Prefix[],
    publicIps: readonly Ip[],
    signal: AbortSignal,
  ): Promise<'reserved' | 'was reserved'>

  /**
   * `removed` where no node published anything under it; `runs out`: what a node published stands, as a lease which that
   * node renews as long as it runs. Rejects with LeaseRefusedError where there is no such reservation.
   */
  release(subnets: readonly Prefix[], signal: AbortSignal): Promise<'removed' | 'runs out'>

  health(): StoreHealth

  close(): Promise<void>
}
