import { type Family, familyBits, familyOf, type Ip } from '../../../lease/net/ip.ts'
import { networkAddress, type Prefix, prefixLength } from '../../../lease/net/prefix.ts'
import { Attributes, NetlinkDecodeError, requireHeader, type Writable } from './attributes.ts'
import { AF_INET, AF_INET6, familyNumber } from './family.ts'
import type { MessageForm } from './fingerprint.ts'
import { type MessageWriter, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from './message.ts'

/** #define RTM_NEWROUTE 24, RTM_DELROUTE 25, RTM_GETROUTE 26 */
export const RTM_NEWROUTE = 24
export const RTM_DELROUTE = 25
const RTM_GETROUTE = 26

/** #define RT_TABLE_MAIN 254, RTN_UNICAST 1, RTN_BLACKHOLE 6, RT_SCOPE_UNIVERSE 0, RTNH_F_ONLINK 4, ... */
export const RT_TABLE_MAIN = 254
export const RTN_UNICAST = 1
export const RTN_BLACKHOLE = 6
const RT_SCOPE_UNIVERSE = 0
const RT_SCOPE_LINK = 253
const RT_SCOPE_NOWHERE = 255
const RTNH_F_ONLINK = 4

/** RTPROT_KERNEL 2: routes that the kernel adds itself, for addresses. */
export const RTPROT_KERNEL = 2

/** #define RTM_F_CLONED 0x200: a cached IPv6 exception, not a configured route. */
const RTM_F_CLONED = 0x200

/** enum rtattr_type_t: RTA_DST 1, RTA_OIF 4, RTA_GATEWAY 5, RTA_PRIORITY 6, RTA_PREFSRC 7, ... */
const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PRIORITY = 6
const RTA_PREFSRC = 7
const RTA_METRICS = 8
const RTA_MULTIPATH = 9
const RTA_TABLE = 15
const RTA_VIA = 18
const RTA_ENCAP = 22
const RTA_NH_ID = 30

/**
 *   struct rtmsg {
 *     __u8 rtm_family, rtm_dst_len, rtm_src_len, rtm_tos, rtm_table, rtm_protocol, rtm_scope, rtm_type;
 *     __u32 rtm_flags;
 *   };
 */
const RTMSG = 12
const RTNEXTHOP = 8

/** RTA_CACHEINFO 12 (use and ages) and RTA_EXPIRES 23 change by themselves. */
export const routeForm: MessageForm = { header: RTMSG, changing: (1 << 12) | (1 << 23) }

export interface RouteMessage {
  readonly family: Family
  readonly dst: Prefix
  readonly tos: number
  readonly table: number
  /** RTPROT_* */
  readonly protocol: number
  /** RTN_* */
  readonly type: number
  readonly cloned: boolean
  readonly onlink: boolean
  /** Index of the output device, the first of several; 0 where there is none. */
  readonly index: number
  readonly via: Ip | undefined
  readonly metric: number
  readonly src: Ip | undefined
  /** Indexes of the output devices of a route over several paths; undefined for any other route. */
  readonly hops: readonly number[] | undefined
  /**
   * What no backend sets, else '': `metrics` (`mtu`, `window`, ...), `encap`, `nhid 7`. The kernel removes a
   * route with a next-hop object (`nhid`) without a notification.
   */
  readonly extra: string
}

export interface RouteFields {
  readonly dst: Prefix
  readonly metric: number
  readonly protocol: number
  readonly type: 'unicast' | 'blackhole' | 'other'
  readonly via?: Ip | undefined
  readonly onlink?: boolean
}

/** RTN_UNSPEC 0 matches any type when a route is deleted. */
const TYPES = { unicast: RTN_UNICAST, blackhole: RTN_BLACKHOLE, other: 0 } as const

/** Undefined for a route of another family than IPv4 and IPv6. */
export function readRoute(buffer: Buffer, start: number, end: number): RouteMessage | undefined {
  requireHeader('a route', start, end, RTMSG)
  const number = buffer.readUInt8(start)
  if (number !== AF_INET && number !== AF_INET6) return undefined
  const family = number === AF_INET ? 'ipv4' : 'ipv6'
  const length = buffer.readUInt8(start + 1)
  if (length > familyBits(family))
    throw new NetlinkDecodeError(`Cannot read a route: a prefix of ${length} bits`)
  const flags = buffer.readUInt32LE(start + 8)
  const route: Writable<RouteMessage> = {
    family,
    // The kernel keeps the host bits zero.
    dst: `${family === 'ipv4' ? '0.0.0.0' : '::'}/${length}` as Prefix,
    tos: buffer.readUInt8(start + 3),
    table: buffer.readUInt8(start + 4),
    protocol: buffer.readUInt8(start + 5),
    type: buffer.readUInt8(start + 7),
    cloned: (flags & RTM_F_CLONED) !== 0,
    onlink: (flags & RTNH_F_ONLINK) !== 0,
    index: 0,
    via: undefined,
    metric: 0,
    src: undefined,
    hops: undefined,
    extra: '',
  }
  const attributes = new Attributes(buffer, start + RTMSG, end)
  while (attributes.next()) readAttribute(route, length, attributes)
  return route
}

function readAttribute(route: Writable<RouteMessage>, length: number, attribute: Attributes): void {
  const { type } = attribute
  if (type === RTA_DST) route.dst = `${attribute.ip()}/${length}` as Prefix
  else if (type === RTA_TABLE) route.table = attribute.u32()
  else if (type === RTA_OIF) route.index = attribute.u32()
  else if (type === RTA_GATEWAY) route.via = attribute.ip()
  else if (type === RTA_VIA) route.via = attribute.via()
  else if (type === RTA_PRIORITY) route.metric = attribute.u32()
  else if (type === RTA_PREFSRC) route.src = attribute.ip()
  else if (type === RTA_METRICS) route.extra += ' metrics'
  else if (type === RTA_ENCAP) route.extra += ' encap'
  else if (type === RTA_NH_ID) route.extra += ` nhid ${attribute.u32()}`
  else if (type === RTA_MULTIPATH) Object.assign(route, readPaths(attribute.bytes()))
}

/** struct rtnexthop { u16 rtnh_len; u8 rtnh_flags, rtnh_hops; int rtnh_ifindex; }, then attributes. */
function readPaths(bytes: Buffer): { hops: readonly number[]; index: number; via: Ip | undefined } {
  const hops: number[] = []
  let via: Ip | undefined
  for (let at = 0; at + RTNEXTHOP <= bytes.length; ) {
    const length = bytes.readUInt16LE(at)
    if (length < RTNEXTHOP || at + length > bytes.length)
      throw new NetlinkDecodeError(`Cannot read a route: a path of ${length} bytes of ${bytes.length - at}`)
    const attributes = new Attributes(bytes, at + RTNEXTHOP, at + length)
    while (attributes.next()) {
      if (hops.length > 0) continue
      if (attributes.type === RTA_GATEWAY) via = attributes.ip()
      else if (attributes.type === RTA_VIA) via = attributes.via()
    }
    hops.push(bytes.readInt32LE(at + 4))
    at += (length + 3) & ~3
  }
  return { hops, index: hops[0] ?? 0, via }
}

/**
 * `ip route add DST via VIA dev DEV proto PROTOCOL metric METRIC onlink` in table main; index 0: no DEV.
 * `add` is refused with EEXIST where a route has this destination and metric.
 */
export function writeNewRoute(
  writer: MessageWriter,
  route: RouteFields,
  index: number,
  how: 'add' | 'replace',
): void {
  writer.begin(RTM_NEWROUTE, NLM_F_CREATE | (how === 'add' ? NLM_F_EXCL : NLM_F_REPLACE))
  const direct = route.via === undefined && route.type === 'unicast' && familyOf(route.dst) === 'ipv4'
  writeRouteBody(writer, route, index, direct ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE)
}

export function writeDelRoute(writer: MessageWriter, route: RouteFields, index: number): void {
  writer.begin(RTM_DELROUTE, 0)
  // fib_table_delete(): RT_SCOPE_NOWHERE matches any scope.
  writeRouteBody(writer, route, index, RT_SCOPE_NOWHERE)
}

/** Asks for routes of the main table. 0 stands for any protocol and any device. */
export function writeRouteDump(
  writer: MessageWriter,
  family: Family,
  { protocol, index }: { readonly protocol: number; readonly index: number },
): void {
  writer.begin(RTM_GETROUTE, 0)
  writer.u32(familyNumber(family))
  writer.u8(RT_TABLE_MAIN)
  writer.u8(protocol)
  writer.u16(0)
  writer.u32(0)
  writer.attributeU32(RTA_TABLE, RT_TABLE_MAIN)
  if (index !== 0) writer.attributeU32(RTA_OIF, index)
}

/** `ip route get ADDRESS` */
export function writeRouteLookup(writer: MessageWriter, address: Ip): void {
  const family = familyOf(address)
  writer.begin(RTM_GETROUTE, 0)
  writer.u8(familyNumber(family))
  writer.u8(familyBits(family))
  writer.u16(0)
  writer.u32(0)
  writer.u32(0)
  writer.attributeIp(RTA_DST, address)
}

function writeRouteBody(writer: MessageWriter, route: RouteFields, index: number, scope: number): void {
  writer.u8(familyNumber(familyOf(route.dst)))
  writer.u8(prefixLength(route.dst))
  writer.u16(0)
  writer.u8(RT_TABLE_MAIN)
  writer.u8(route.protocol)
  writer.u8(scope)
  writer.u8(TYPES[route.type])
  writer.u32(route.onlink ? RTNH_F_ONLINK : 0)
  writer.attributeIp(RTA_DST, networkAddress(route.dst))
  if (route.via !== undefined) writer.attributeIp(RTA_GATEWAY, route.via)
  if (index !== 0) writer.attributeU32(RTA_OIF, index)
  if (route.metric !== 0) writer.attributeU32(RTA_PRIORITY, route.metric)
}
