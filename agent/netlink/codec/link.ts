import type { Mac } from '../../../lease/net/mac.ts'
import { Attributes, requireHeader, type Writable } from './attributes.ts'
import { AF_UNSPEC } from './family.ts'
import { type MessageWriter, NLM_F_CREATE, NLM_F_EXCL } from './message.ts'
import { readVxlan, type VxlanFields, type VxlanMessage, writeVxlan } from './vxlan.ts'

/** #define RTM_NEWLINK 16, RTM_DELLINK 17, RTM_GETLINK 18 */
export const RTM_NEWLINK = 16
export const RTM_DELLINK = 17
const RTM_GETLINK = 18

/** #define IFF_UP 0x1, IFF_LOOPBACK 0x8 */
const IFF_UP = 0x1
const IFF_LOOPBACK = 0x8

/** enum: IFLA_ADDRESS 1, IFLA_IFNAME 3, IFLA_MTU 4, IFLA_MASTER 10, IFLA_LINKINFO 18, IFLA_EXT_MASK 29 */
const IFLA_ADDRESS = 1
const IFLA_IFNAME = 3
const IFLA_MTU = 4
const IFLA_MASTER = 10
const IFLA_LINKINFO = 18
const IFLA_EXT_MASK = 29
/** IFLA_PROP_LIST 52 holds IFLA_ALT_IFNAME 53, once for each other name (`ip link property add`). */
const IFLA_PROP_LIST = 52
const IFLA_ALT_IFNAME = 53
/** IFLA_PROTO_DOWN_REASON 55 has a MASK 1 and a VALUE 2, with one bit for each program. */
const IFLA_PROTO_DOWN = 39
const IFLA_PROTO_DOWN_REASON = 55
const IFLA_PROTO_DOWN_REASON_MASK = 1
const IFLA_PROTO_DOWN_REASON_VALUE = 2
const IFLA_INFO_KIND = 1
const IFLA_INFO_DATA = 2

/** #define RTEXT_FILTER_SKIP_STATS (1 << 3): counters are most of a link message. */
const RTEXT_FILTER_SKIP_STATS = 1 << 3

/** struct ifinfomsg { u8 ifi_family, pad; u16 ifi_type; int ifi_index; unsigned ifi_flags, ifi_change; }; */
const IFINFOMSG = 16

export interface LinkMessage {
  /** AF_UNSPEC; AF_BRIDGE: about a bridge port only, whose RTM_DELLINK does not delete the device. */
  readonly family: number
  readonly index: number
  readonly name: string
  readonly altNames: readonly string[]
  readonly mtu: number
  readonly up: boolean
  readonly loopback: boolean
  /** Index of the device that this one is a port of; 0: none. */
  readonly master: number
  /** A program has taken the carrier away (`ip link set DEV protodown on`). */
  readonly protodown: boolean
  readonly mac: Mac | undefined
  /** IFLA_INFO_KIND: `vxlan`, `veth`; '' for a physical one. */
  readonly kind: string
  readonly vxlan: VxlanMessage | undefined
}

export function readLink(buffer: Buffer, start: number, end: number): LinkMessage {
  requireHeader('a link', start, end, IFINFOMSG)
  const flags = buffer.readUInt32LE(start + 8)
  const link: Writable<LinkMessage> = {
    family: buffer.readUInt8(start),
    index: buffer.readInt32LE(start + 4),
    name: '',
    altNames: [],
    mtu: 0,
    up: (flags & IFF_UP) !== 0,
    loopback: (flags & IFF_LOOPBACK) !== 0,
    mac: undefined,
    master: 0,
    protodown: false,
    kind: '',
    vxlan: undefined,
  }
  const attributes = new Attributes(buffer, start + IFINFOMSG, end)
  while (attributes.next()) {
    if (attributes.type === IFLA_IFNAME) link.name = attributes.text()
    else if (attributes.type === IFLA_MTU) link.mtu = attributes.u32()
    else if (attributes.type === IFLA_ADDRESS) link.mac = attributes.mac()
    else if (attributes.type === IFLA_MASTER) link.master = attributes.u32()
    else if (attributes.type === IFLA_PROTO_DOWN) link.protodown = attributes.u8() !== 0
    else if (attributes.type === IFLA_PROP_LIST) link.altNames = readAltNames(attributes.nested())
    else if (attributes.type === IFLA_LINKINFO) readInfo(link, attributes.nested())
  }
  return link
}

function readAltNames(attributes: Attributes): readonly string[] {
  const names: string[] = []
  while (attributes.next()) if (attributes.type === IFLA_ALT_IFNAME) names.push(attributes.text())
  return names
}

function readInfo(link: Writable<LinkMessage>, attributes: Attributes): void {
  let data: Attributes | undefined
  while (attributes.next()) {
    if (attributes.type === IFLA_INFO_KIND) link.kind = attributes.text()
    else if (attributes.type === IFLA_INFO_DATA) data = attributes.nested()
  }
  if (link.kind === 'vxlan' && data !== undefined) link.vxlan = readVxlan(data)
}

/** `ip link add NAME address MAC mtu MTU type vxlan ...`, still down; with its MAC: udev then sets none. */
export function writeNewVxlan(
  writer: MessageWriter,
  link: { readonly name: string; readonly mac: Mac; readonly mtu: number; readonly vxlan: VxlanFields },
): void {
  writer.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL)
  writeIfinfomsg(writer, 0, 0, 0)
  writer.attributeText(IFLA_IFNAME, link.name)
  writer.attributeU32(IFLA_MTU, link.mtu)
  writer.attributeMac(IFLA_ADDRESS, link.mac)
  const info = writer.nest(IFLA_LINKINFO)
  writer.attributeText(IFLA_INFO_KIND, 'vxlan')
  const data = writer.nest(IFLA_INFO_DATA)
  writeVxlan(writer, link.vxlan)
  writer.unnest(data)
  writer.unnest(info)
}

export interface LinkChange {
  readonly mac?: Mac
  readonly mtu?: number
  readonly up?: true
  readonly master?: 0
  readonly protodown?: false
}

/** `ip link set dev DEV address MAC mtu MTU up nomaster protodown off` */
export function writeSetLink(writer: MessageWriter, index: number, change: LinkChange): void {
  writer.begin(RTM_NEWLINK, 0)
  const up = change.up === true ? IFF_UP : 0
  writeIfinfomsg(writer, index, up, up)
  if (change.mac !== undefined) writer.attributeMac(IFLA_ADDRESS, change.mac)
  if (change.mtu !== undefined) writer.attributeU32(IFLA_MTU, change.mtu)
  if (change.master !== undefined) writer.attributeU32(IFLA_MASTER, change.master)
  if (change.protodown === undefined) return
  writer.attributeU8(IFLA_PROTO_DOWN, 0)
  // The kernel refuses with EBUSY while any reason is left.
  const reason = writer.nest(IFLA_PROTO_DOWN_REASON)
  writer.attributeU32(IFLA_PROTO_DOWN_REASON_MASK, 0xffffffff)
  writer.attributeU32(IFLA_PROTO_DOWN_REASON_VALUE, 0)
  writer.unnest(reason)
}

export function writeDelLink(writer: MessageWriter, index: number): void {
  writer.begin(RTM_DELLINK, 0)
  writeIfinfomsg(writer, index, 0, 0)
}

export function writeGetLink(writer: MessageWriter, which: string | number): void {
  writer.begin(RTM_GETLINK, 0)
  writeIfinfomsg(writer, typeof which === 'number' ? which : 0, 0, 0)
  if (typeof which === 'string') writer.attributeText(IFLA_IFNAME, which)
  writer.attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
}

export function writeLinkDump(writer: MessageWriter): void {
  writer.begin(RTM_GETLINK, 0)
  writeIfinfomsg(writer, 0, 0, 0)
  writer.attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
}

function writeIfinfomsg(writer: MessageWriter, index: number, flags: number, change: number): void {
  writer.u32(AF_UNSPEC)
  writer.u32(index)
  writer.u32(flags)
  writer.u32(change)
}
