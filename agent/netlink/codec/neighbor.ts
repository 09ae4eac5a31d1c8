import type { Ip } from '../../../lease/net/ip.ts'
import { familyOf } from '../../../lease/net/ip.ts'
import type { Mac } from '../../../lease/net/mac.ts'
import { Attributes, requireHeader, type Writable } from './attributes.ts'
import { AF_BRIDGE, familyNumber } from './family.ts'
import type { MessageForm } from './fingerprint.ts'
import { type MessageWriter, NLM_F_CREATE, NLM_F_REPLACE } from './message.ts'

/** #define RTM_NEWNEIGH 28, RTM_DELNEIGH 29, RTM_GETNEIGH 30: neighbors and, with AF_BRIDGE, FDB entries. */
export const RTM_NEWNEIGH = 28
export const RTM_DELNEIGH = 29
const RTM_GETNEIGH = 30

/** #define NUD_PERMANENT 0x80, NTF_SELF 0x02, RTN_UNICAST 1 */
export const NUD_PERMANENT = 0x80
const NTF_SELF = 0x02
const RTN_UNICAST = 1

/** #define NDA_DST 1, NDA_LLADDR 2, NDA_PORT 6, NDA_VNI 7, NDA_IFINDEX 8 */
const NDA_DST = 1
const NDA_LLADDR = 2
const NDA_PORT = 6
const NDA_VNI = 7
const NDA_IFINDEX = 8

/** struct ndmsg { u8 family, pad1; u16 pad2; s32 ndm_ifindex; u16 ndm_state; u8 ndm_flags, ndm_type; }; */
const NDMSG = 12
const NDM_STATE = 8

/** NDA_CACHEINFO 3 (ages), NDA_PROBES 4 and the learned entries change by themselves. */
export const neighborForm: MessageForm = {
  header: NDMSG,
  changing: (1 << 3) | (1 << 4),
  isLasting: (buffer, start) => (buffer.readUInt16LE(start + NDM_STATE) & NUD_PERMANENT) !== 0,
}

/** Where packets to a VTEP differ from the device's defaults (vxlan_fdb_info() reports nothing else). */
export interface Detour {
  readonly port: number | undefined
  readonly vni: number | undefined
  readonly via: number | undefined
}

export interface NeighborMessage extends Detour {
  /** AF_INET, AF_INET6, AF_BRIDGE. */
  readonly family: number
  readonly index: number
  /** NUD_* */
  readonly state: number
  /** NDA_DST: the neighbor's address, or the VTEP of an FDB entry. */
  readonly address: Ip | undefined
  readonly mac: Mac | undefined
}

export function readNeighbor(buffer: Buffer, start: number, end: number): NeighborMessage {
  requireHeader('a neighbor', start, end, NDMSG)
  const neighbor: Writable<NeighborMessage> = {
    family: buffer.readUInt8(start),
    index: buffer.readInt32LE(start + 4),
    state: buffer.readUInt16LE(start + NDM_STATE),
    address: undefined,
    mac: undefined,
    port: undefined,
    vni: undefined,
    via: undefined,
  }
  const attributes = new Attributes(buffer, start + NDMSG, end)
  while (attributes.next()) {
    if (attributes.type === NDA_DST) neighbor.address = attributes.ip()
    else if (attributes.type === NDA_LLADDR) neighbor.mac = attributes.mac()
    else if (attributes.type === NDA_PORT) neighbor.port = attributes.u16Be()
    else if (attributes.type === NDA_VNI) neighbor.vni = attributes.u32()
    else if (attributes.type === NDA_IFINDEX) neighbor.via = attributes.u32()
  }
  return neighbor
}

/** Index of the device of a neighbor message, without parsing the rest. */
export function neighborIndex(buffer: Buffer, start: number, end: number): number {
  requireHeader('a neighbor', start, end, NDMSG)
  return buffer.readInt32LE(start + 4)
}

/** `ip neigh replace ADDRESS lladdr MAC dev DEV nud permanent` */
export function writeNewNeighbor(writer: MessageWriter, index: number, address: Ip, mac: Mac): void {
  writer.begin(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE)
  writeNdmsg(writer, familyNumber(familyOf(address)), index, NUD_PERMANENT, 0, RTN_UNICAST)
  writer.attributeIp(NDA_DST, address)
  writer.attributeMac(NDA_LLADDR, mac)
}

export function writeDelNeighbor(writer: MessageWriter, index: number, address: Ip): void {
  writer.begin(RTM_DELNEIGH, 0)
  writeNdmsg(writer, familyNumber(familyOf(address)), index)
  writer.attributeIp(NDA_DST, address)
}

/** `bridge fdb replace MAC dev DEV dst VTEP self permanent` */
export function writeNewFdb(writer: MessageWriter, index: number, mac: Mac, vtep: Ip): void {
  writer.begin(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE)
  writeNdmsg(writer, AF_BRIDGE, index, NUD_PERMANENT, NTF_SELF)
  writer.attributeMac(NDA_LLADDR, mac)
  writer.attributeIp(NDA_DST, vtep)
}

/** Without a destination the kernel deletes all destinations of the MAC (vxlan_fdb_parse()). */
export function writeDelFdb(
  writer: MessageWriter,
  index: number,
  mac: Mac,
  destination?: Partial<Detour> & { readonly dst: Ip },
): void {
  writer.begin(RTM_DELNEIGH, 0)
  writeNdmsg(writer, AF_BRIDGE, index, 0, NTF_SELF)
  writer.attributeMac(NDA_LLADDR, mac)
  if (destination === undefined) return
  const { dst, port, vni, via } = destination
  writer.attributeIp(NDA_DST, dst)
  if (port !== undefined) writer.attributeU16Be(NDA_PORT, port)
  if (vni !== undefined) writer.attributeU32(NDA_VNI, vni)
  if (via !== undefined) writer.attributeU32(NDA_IFINDEX, via)
}

/** Asks for all entries of one device. The kernel filters by device only with strict checking. */
export function writeNeighborDump(writer: MessageWriter, family: number, index: number): void {
  writer.begin(RTM_GETNEIGH, 0)
  writeNdmsg(writer, family, 0)
  writer.attributeU32(NDA_IFINDEX, index)
}

function writeNdmsg(writer: MessageWriter, family: number, index: number, state = 0, flags = 0, type = 0) {
  writer.u32(family)
  writer.u32(index)
  writer.u16(state)
  writer.u8(flags)
  writer.u8(type)
}
