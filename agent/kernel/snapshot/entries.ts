import { familyOf, type Ip, parseIp, scopeOf } from '../../../lease/net/ip.ts'
import { type Mac, parseMac } from '../../../lease/net/mac.ts'
import { contains, isSingleAddress, networkAddress, type Prefix } from '../../../lease/net/prefix.ts'
import type { AddressMessage } from '../../netlink/codec/address.ts'
import type { LinkMessage } from '../../netlink/codec/link.ts'
import { type NeighborMessage, NUD_PERMANENT } from '../../netlink/codec/neighbor.ts'
import {
  type RouteMessage,
  RT_TABLE_MAIN,
  RTN_BLACKHOLE,
  RTN_UNICAST,
  RTPROT_KERNEL,
} from '../../netlink/codec/route.ts'
import type { Address, FdbEntry, Link, Neighbor, Route } from '../../state/entry.ts'
import type { Scope } from '../kernel.ts'

const NO_MAC: Mac = parseMac('00:00:00:00:00:00')
const NO_IP: Ip = parseIp('0.0.0.0')

/**
 * A link that is no VXLAN device gets VNI 0 and port 0, so that it is rebuilt, as in flanneld. `underlay`:
 * name of the interface that it sends through, or ''.
 */
export function linkEntry(message: LinkMessage, underlay: string): Link {
  const { vxlan } = message
  return {
    kind: 'link',
    name: message.name,
    mac: message.mac ?? NO_MAC,
    deviceMtu: message.mtu,
    up: message.up,
    ...(message.master === 0 ? {} : { master: message.master }),
    ...(message.protodown ? { protodown: true } : {}),
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

/** Undefined for an IPv6 link-local address: the kernel makes it itself. */
export function addressEntry({ address, length }: AddressMessage, dev: string): Address | undefined {
  if (familyOf(address) === 'ipv6' && scopeOf(address) === 'link-local') return undefined
  return { kind: 'address', dev, address, length }
}

/** Undefined for an entry without a MAC or a VTEP. */
export function fdbEntry(message: NeighborMessage, dev: string): FdbEntry | undefined {
  const { mac, address, port, vni, via } = message
  if (mac === undefined || address === undefined) return undefined
  const entry: FdbEntry = { kind: 'fdb', dev, mac, dst: address }
  return (port ?? vni ?? via) === undefined ? entry : { ...entry, port, vni, via }
}

/** Undefined for a multicast group: the kernel lists these among the neighbors. */
export function neighborEntry({ mac, address }: NeighborMessage, dev: string): Neighbor | undefined {
  if (address === undefined || scopeOf(address) === 'multicast') return undefined
  return { kind: 'neighbor', dev, address, mac: mac ?? NO_MAC }
}

/** Whether a program has set it. The kernel manages learned entries itself. */
export function isPermanent({ state }: NeighborMessage): boolean {
  return (state & NUD_PERMANENT) !== 0
}

/**
 * Whether it is on our device and not the kernel's own, or has our protocol and leads into our network. Any
 * pod can advertise a route on our device: it counts as ours, to be removed. `hostRoutes`: destinations of
 * our devices' addresses, where known.
 */
export function isOurRoute(
  route: RouteMessage,
  onOurDevice: boolean,
  { routeProtocol, networks }: Omit<Scope, 'devices'>,
  hostRoutes?: ReadonlySet<Prefix>,
): boolean {
  if (route.table !== RT_TABLE_MAIN || route.cloned || route.tos !== 0) return false
  const isOfNetwork = () => networks === undefined || networks.some(network => contains(network, route.dst))
  if (route.protocol === routeProtocol && !onOurDevice) return isOfNetwork()
  if (!onOurDevice || !couldBeOurDestination(route)) return false
  // Our addresses are single ones. A route from an advertised prefix is `proto kernel` too, but only IPv6 has
  // it.
  const isOwn = () =>
    hostRoutes === undefined ? isSingleAddress(route.dst) && isOfNetwork() : hostRoutes.has(route.dst)
  return route.protocol !== RTPROT_KERNEL || (route.family === 'ipv6' && !isOwn())
}

/** Whether one of our routes could have this destination: not multicast, not link-local. */
export function couldBeOurDestination({ dst }: RouteMessage): boolean {
  const scope = scopeOf(networkAddress(dst))
  return scope !== 'multicast' && scope !== 'link-local'
}

/** `dev` is undefined where the device was deleted meanwhile. */
export function routeEntry(route: RouteMessage, dev: string | undefined): Route {
  const { dst, metric, protocol, type, via, onlink, extra } = route
  const kind = 'route'
  if (type === RTN_BLACKHOLE) return { kind, type: 'blackhole', dst, metric, protocol }
  const isSingle = type === RTN_UNICAST && route.hops === undefined
  if (!isSingle || dev === undefined) return { kind, type: 'other', dst, metric, protocol }
  const more = extra === '' ? {} : { extra: extra.trim() }
  // Not spread from an object that all types share: V8 of Node.js 20 would make each route a hidden class.
  return { kind, type: 'unicast', dst, metric, protocol, dev, via, onlink, ...more }
}
