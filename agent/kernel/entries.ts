import { type Ip, parseIp, scopeOf } from '../../lease/net/ip.ts'
import { type Mac, parseMac } from '../../lease/net/mac.ts'
import { contains, networkAddress } from '../../lease/net/prefix.ts'
import type { AddressMessage } from '../netlink/address.ts'
import type { LinkMessage } from '../netlink/link.ts'
import { type NeighborMessage, NUD_PERMANENT } from '../netlink/neighbor.ts'
import {
  type RouteMessage,
  RT_TABLE_MAIN,
  RTN_BLACKHOLE,
  RTN_UNICAST,
  RTPROT_KERNEL,
} from '../netlink/route.ts'
import type { Address, FdbEntry, Link, Neighbor, Route } from '../state/entry.ts'
import type { Scope } from './kernel.ts'

const NO_MAC: Mac = parseMac('00:00:00:00:00:00')
const NO_IP: Ip = parseIp('0.0.0.0')

/**
 * A device of ours. One of our name that is no VXLAN device comes out with VNI 0 and port 0, which no backend asks for: it is
 * rebuilt then, as flanneld does. `underlay` is the name of the device that it sits on, '' where it sits on none.
 */
export function linkEntry(message: LinkMessage, underlay: string): Link {
  const { vxlan } = message
  return {
    kind: 'link',
    name: message.name,
    mac: message.mac ?? NO_MAC,
    deviceMtu: message.mtu,
    up: message.up,
    vxlan: {
      vni: vxlan?.vni ?? 0,
      port: vxlan?.port ?? 0,
      local: vxlan?.local ?? NO_IP,
      underlay,
      learning: vxlan?.learning ?? false,
      gbp: vxlan?.gbp ?? false,
      ...(vxlan?.extra ? { extra: vxlan.extra } : {}),
    },
  }
}

/** Undefined for an IPv6 link-local address, which the kernel makes itself. */
export function addressEntry({ address, length }: AddressMessage, dev: string): Address | undefined {
  if (address.includes(':') && scopeOf(address) === 'link-local') return undefined
  return { kind: 'address', dev, address, length }
}

/** What an FDB entry is known by and is; undefined for one that leads to no VTEP. */
export function fdbEntry({ mac, address }: NeighborMessage, dev: string): FdbEntry | undefined {
  return mac === undefined || address === undefined ? undefined : { kind: 'fdb', dev, mac, dst: address }
}

/** Undefined for a multicast group, which the kernel lists among the neighbors. */
export function neighborEntry({ mac, address }: NeighborMessage, dev: string): Neighbor | undefined {
  if (address === undefined || scopeOf(address) === 'multicast') return undefined
  return { kind: 'neighbor', dev, address, mac: mac ?? NO_MAC }
}

/** Whether somebody has set it; a learned one is the kernel's own affair. */
export function isPermanent({ state }: NeighborMessage): boolean {
  return (state & NUD_PERMANENT) !== 0
}

/**
 * Whether a route is ours: on one of our devices but not of the kernel's making, or with our protocol and into our network. A
 * route from a router advertisement (RTPROT_RA) on our device counts as ours, so that it is removed: any pod can send one.
 */
export function isOurRoute(
  route: RouteMessage,
  onOurDevice: boolean,
  { routeProtocol, networks }: Omit<Scope, 'devices'>,
): boolean {
  if (route.table !== RT_TABLE_MAIN || route.cloned || route.tos !== 0) return false
  if (route.protocol === routeProtocol && !onOurDevice)
    return networks === undefined || networks.some(network => contains(network, route.dst))
  if (!onOurDevice || route.protocol === RTPROT_KERNEL) return false
  return isPlaceOfOurs(route)
}

/** Whether a route of ours could have this destination. */
export function isPlaceOfOurs({ dst }: RouteMessage): boolean {
  const scope = scopeOf(networkAddress(dst))
  return scope !== 'multicast' && scope !== 'link-local'
}

/** `dev` is undefined where the device has gone meanwhile. */
export function routeEntry(route: RouteMessage, dev: string | undefined): Route {
  const { dst, metric, protocol, type, via, onlink } = route
  const base = { kind: 'route', dst, metric, protocol } as const
  if (type === RTN_BLACKHOLE) return { ...base, type: 'blackhole' }
  const isSingle = type === RTN_UNICAST && route.hops === undefined
  return isSingle && dev !== undefined
    ? { ...base, type: 'unicast', dev, via, onlink }
    : { ...base, type: 'other' }
}
