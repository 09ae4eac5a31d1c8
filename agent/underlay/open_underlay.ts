import { familyOf } from '../../lease/net/ip.ts'
import type { LeaseStore } from '../../lease/store.ts'
import { endpointAddresses } from './endpoint_addresses.ts'
import type { InterfaceWish, PublicIps } from './underlay.ts'
import { UnderlayWatch, type UnderlayWatchOptions } from './underlay_watch.ts'

export interface UnderlaySettings extends Omit<UnderlayWatchOptions, 'wish' | 'endpoints'> {
  readonly interfaces: InterfaceWish
  readonly publicIps: PublicIps
  readonly store: Pick<LeaseStore, 'endpoints' | 'reporter'>
}

/** Public IPs of the command line come before those that the store has for this node. Chooses nothing yet. */
export async function openUnderlay(settings: UnderlaySettings, signal: AbortSignal): Promise<UnderlayWatch> {
  const { interfaces, publicIps, store, ...options } = settings
  const hints = (await store.reporter?.publicIpHints(signal)) ?? []
  const hinted = Object.fromEntries(hints.map(ip => [familyOf(ip), ip]))
  const wish = {
    ...interfaces,
    publicIps: { ipv4: publicIps.ipv4 ?? hinted.ipv4, ipv6: publicIps.ipv6 ?? hinted.ipv6 },
  }
  const endpoints = await endpointAddresses(store.endpoints ?? [], signal)
  return new UnderlayWatch({ ...options, wish, endpoints })
}
