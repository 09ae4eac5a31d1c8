import { familyOf, type Ip } from '../../../lease/net/ip.ts'
import { Attributes, NetlinkDecodeError, requireHeader } from './attributes.ts'
import { familyNumber } from './family.ts'
import type { MessageForm } from './fingerprint.ts'
import { type MessageWriter, NLM_F_CREATE, NLM_F_REPLACE } from './message.ts'

/** #define RTM_NEWADDR 20, RTM_DELADDR 21, RTM_GETADDR 22 */
export const RTM_NEWADDR = 20
export const RTM_DELADDR = 21
const RTM_GETADDR = 22

/** #define IFA_ADDRESS 1, IFA_LOCAL 2, IFA_LABEL 3, IFA_FLAGS 8 */
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_LABEL = 3
const IFA_FLAGS = 8

/** #define IFA_F_TEMPORARY 0x01 (IPv4: IFA_F_SECONDARY), IFA_F_DADFAILED 0x08, IFA_F_DEPRECATED 0x20, ... */
export const IFA_F_TEMPORARY = 0x01
export const IFA_F_DADFAILED = 0x08
export const IFA_F_DEPRECATED = 0x20
export const IFA_F_TENTATIVE = 0x40
export const IFA_F_PERMANENT = 0x80

/** struct ifaddrmsg { __u8 ifa_family, ifa_prefixlen, ifa_flags, ifa_scope; __u32 ifa_index; }; */
const IFADDRMSG = 8

/** IFA_CACHEINFO 6 (lifetimes) changes by itself. */
export const addressForm: MessageForm = { header: IFADDRMSG, changing: 1 << 6 }

export interface AddressMessage {
  readonly family: number
  readonly index: number
  /** In bits. */
  readonly length: number
  /** IFA_F_* */
  readonly flags: number
  /** RT_SCOPE_* */
  readonly scope: number
  /** IFA_LOCAL where present: IFA_ADDRESS is the peer's on a point-to-point link. */
  readonly address: Ip
  /** IPv4 only: the name of its device, or `eth0:1` (ip-address(8), label); '' where it has none. */
  readonly label: string
}

export function readAddress(buffer: Buffer, start: number, end: number): AddressMessage {
  requireHeader('an address', start, end, IFADDRMSG)
  let flags = buffer.readUInt8(start + 2)
  let local: Ip | undefined
  let address: Ip | undefined
  let label = ''
  const attributes = new Attributes(buffer, start + IFADDRMSG, end)
  while (attributes.next()) {
    if (attributes.type === IFA_LOCAL) local = attributes.ip()
    else if (attributes.type === IFA_ADDRESS) address = attributes.ip()
    else if (attributes.type === IFA_LABEL) label = attributes.text()
    else if (attributes.type === IFA_FLAGS) flags = attributes.u32()
  }
  const own = local ?? address
  if (own === undefined)
    throw new NetlinkDecodeError('Cannot read an address: neither IFA_LOCAL nor IFA_ADDRESS')
  return {
    family: buffer.readUInt8(start),
    index: buffer.readUInt32LE(start + 4),
    length: buffer.readUInt8(start + 1),
    flags,
    scope: buffer.readUInt8(start + 3),
    address: own,
    label,
  }
}

/** `ip address replace ADDRESS/LENGTH dev DEV`, or `del` */
export function writeAddress(
  writer: MessageWriter,
  { address, length }: Pick<AddressMessage, 'address' | 'length'>,
  index: number,
  how: 'replace' | 'delete',
): void {
  if (how === 'delete') writer.begin(RTM_DELADDR, 0)
  else writer.begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE)
  writer.u8(familyNumber(familyOf(address)))
  writer.u8(length)
  writer.u16(0)
  writer.u32(index)
  writer.attributeIp(IFA_LOCAL, address)
  writer.attributeIp(IFA_ADDRESS, address)
}

/** Asks for the addresses of one device; index 0: of all. */
export function writeAddressDump(writer: MessageWriter, family: number, index: number): void {
  writer.begin(RTM_GETADDR, 0)
  writer.u32(family)
  writer.u32(index)
}
