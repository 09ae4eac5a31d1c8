import { type Family, familyOf, type Ip, scopeOf } from '../../lease/net/ip.ts'
import { contains, isSingleAddress, type Prefix, prefixLength, prefixOf } from '../../lease/net/prefix.ts'
import type { InterfaceAddress, InterfaceFacts, RouteFacts } from '../state/underlay_facts.ts'

export interface UnderlayFacts {
  readonly interfaces: readonly InterfaceFacts[]
  readonly routes: readonly RouteFacts[]
}

/** Default routes of a family, the best first. */
export function defaultRoutes(routes: readonly RouteFacts[], family: Family): readonly RouteFacts[] {
  return routes
    .filter(({ dst }) => prefixLength(dst) === 0 && familyOf(dst) === family)
    .sort((a, b) => a.metric - b.metric)
}

/**
 * The source address of packets through `carrier`: the kernel's own choice, `src` of the default route, maybe
 * on lo; else the best address of `holder`, the interface itself or lo.
 */
export function localAddress(
  family: Family,
  carrier: InterfaceFacts,
  holder: InterfaceFacts,
  { interfaces, routes }: UnderlayFacts,
): Ip | undefined {
  const defaults = defaultRoutes(routes, family).filter(({ dev }) => dev === carrier.name)
  const held = [holder, ...interfaces.filter(({ loopback }) => loopback)].flatMap(it => it.addresses)
  const preferred = defaults
    .flatMap(({ src }) => src ?? [])
    .find(src => held.some(at => at.address === src && isUsable(at)))
  if (preferred !== undefined) return preferred
  const gateways = defaults.flatMap(({ via }) => via ?? [])
  return bestOf(
    holder.addresses.filter(({ address }) => familyOf(address) === family),
    gateways,
  )
}

/**
 * In this order: in the gateway's prefix; lasting; in a real prefix, which virtual IPs (/32, /128) lack;
 * permanent. Tentative only where there is no other, and never link-local: peers refuse it.
 */
function bestOf(addresses: readonly InterfaceAddress[], gateways: readonly Ip[]): Ip | undefined {
  const rank = (at: InterfaceAddress) => {
    const prefix = prefixIn(at)
    const leadsOut = !isSingleAddress(prefix) && gateways.some(gateway => contains(prefix, gateway))
    return [at.tentative, !leadsOut, at.temporary, isSingleAddress(prefix), !at.permanent]
  }
  const value = (at: InterfaceAddress) => rank(at).reduce((sum, worse) => 2 * sum + Number(worse), 0)
  const usable = addresses.filter(isUsable)
  return usable.toSorted((a, b) => value(a) - value(b))[0]?.address
}

export function prefixIn({ address, length }: InterfaceAddress): Prefix {
  return prefixOf(address, length)
}

function isUsable({ address, deprecated }: InterfaceAddress): boolean {
  return !deprecated && scopeOf(address) === 'global'
}
