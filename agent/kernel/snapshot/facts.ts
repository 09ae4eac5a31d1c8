import { allFamilies, type Ip } from '../../../lease/net/ip.ts'
import {
  type AddressMessage,
  IFA_F_DADFAILED,
  IFA_F_DEPRECATED,
  IFA_F_PERMANENT,
  IFA_F_TEMPORARY,
  IFA_F_TENTATIVE,
} from '../../netlink/codec/address.ts'
import { AF_INET } from '../../netlink/codec/family.ts'
import { RTN_UNICAST, writeRouteLookup } from '../../netlink/codec/route.ts'
import { NetlinkError } from '../../netlink/errno.ts'
import type { Requests } from '../../netlink/requests.ts'
import type {
  AddressScope,
  InterfaceAddress,
  InterfaceFacts,
  RouteFacts,
  RouteLookup,
} from '../../state/underlay_facts.ts'
import type { Scope } from '../kernel.ts'
import { deviceName } from './devices.ts'
import { dumpAddresses, dumpLinks, dumpRoutes, newRoute } from './dumps.ts'
import { isOurRoute } from './entries.ts'

export async function readInterfaces(requests: Requests, signal: AbortSignal): Promise<InterfaceFacts[]> {
  const links = await dumpLinks(requests, signal)
  const addresses = new Map<number, InterfaceAddress[]>(links.map(link => [link.index, []]))
  const names = new Map(links.map(link => [link.index, link.name]))
  for (const message of await dumpAddresses(requests, signal))
    addresses.get(message.index)?.push(interfaceAddress(message, names.get(message.index) ?? ''))
  return links.map(link => ({
    index: link.index,
    name: link.name,
    ...(link.altNames.length > 0 && { altNames: link.altNames }),
    underlayMtu: link.mtu,
    up: link.up,
    loopback: link.loopback,
    vxlan: link.vxlan === undefined ? undefined : { vni: link.vxlan.vni, port: link.vxlan.port },
    addresses: addresses.get(link.index) ?? [],
  }))
}

/** Unicast routes of the main table that are not ours; of a route over several paths, the first path. */
export async function readOtherRoutes(
  requests: Requests,
  scope: Scope,
  signal: AbortSignal,
): Promise<readonly RouteFacts[]> {
  const names = new Map((await dumpLinks(requests, signal)).map(link => [link.index, link.name]))
  const facts: RouteFacts[] = []
  for (const family of allFamilies) {
    for (const route of await dumpRoutes(requests, family, { protocol: 0, index: 0 }, signal)) {
      const dev = names.get(route.index)
      if (dev === undefined || route.type !== RTN_UNICAST) continue
      if (scope.devices.includes(dev) || isOurRoute(route, false, scope)) continue
      const { dst, via, metric, protocol, src } = route
      facts.push({ dst, via, dev, metric, protocol, src })
    }
  }
  return facts
}

/** ENETUNREACH, EHOSTUNREACH: no route. EINVAL: a blackhole route. EACCES: a prohibit route. */
const NO_ROUTE: ReadonlySet<string> = new Set(['ENETUNREACH', 'EHOSTUNREACH', 'EINVAL', 'EACCES'])

export async function lookUpRoute(
  requests: Requests,
  address: Ip,
  signal: AbortSignal,
): Promise<RouteLookup | undefined> {
  try {
    const act = `Cannot look up the route to ${address}`
    const [route] = await requests.request(act, w => writeRouteLookup(w, address), newRoute, signal)
    const dev = await deviceName(requests, route?.index ?? 0, signal)
    return route && dev !== undefined ? { dev, via: route.via, src: route.src } : undefined
  } catch (error) {
    if (error instanceof NetlinkError && NO_ROUTE.has(error.code)) return undefined
    throw error
  }
}

/** enum rt_scope_t */
const SCOPES: ReadonlyMap<number, AddressScope> = new Map([
  [0, 'global'],
  [200, 'site'],
  [253, 'link'],
  [254, 'host'],
])

function interfaceAddress(message: AddressMessage, interfaceName: string): InterfaceAddress {
  const { family, address, label, length, scope, flags } = message

  const has = (bit: number) => (flags & bit) !== 0
  return {
    address,
    ...(label !== '' && label !== interfaceName && { label }),
    length,
    scope: SCOPES.get(scope) ?? 'nowhere',
    permanent: has(IFA_F_PERMANENT),
    deprecated: has(IFA_F_DEPRECATED),
    temporary: family !== AF_INET && has(IFA_F_TEMPORARY),
    tentative: has(IFA_F_TENTATIVE) || has(IFA_F_DADFAILED),
  }
}
