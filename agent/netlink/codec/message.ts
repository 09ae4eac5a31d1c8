import { familyOf, type Ip, ipToBytes } from '../../../lease/net/ip.ts'
import type { Mac } from '../../../lease/net/mac.ts'
import { Attributes, NetlinkDecodeError } from './attributes.ts'

/**
 * netlink(7), linux/netlink.h. Numbers are in the byte order of the machine; every supported machine is
 * little endian.
 *
 *   struct nlmsghdr {
 *     __u32 nlmsg_len; __u16 nlmsg_type; __u16 nlmsg_flags; __u32 nlmsg_seq; __u32 nlmsg_pid;
 *   };
 */
const HEADER = 16

/** #define NLMSG_ERROR 0x2, NLMSG_DONE 0x3 */
export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3

/** #define NLM_F_REQUEST 0x01 ... NLM_F_DUMP (NLM_F_ROOT|NLM_F_MATCH) */
const NLM_F_REQUEST = 0x1
export const NLM_F_ACK = 0x4
export const NLM_F_DUMP_INTR = 0x10
export const NLM_F_DUMP = 0x300
/** Flags of a request that creates something: NLM_F_REPLACE 0x100, NLM_F_EXCL 0x200, NLM_F_CREATE 0x400 */
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400
/** Of an acknowledgement: NLM_F_CAPPED 0x100 (no copy of the request), NLM_F_ACK_TLVS 0x200 (attributes) */
const NLM_F_CAPPED = 0x100
const NLM_F_ACK_TLVS = 0x200

/** #define NLMSGERR_ATTR_MSG 1 */
const NLMSGERR_ATTR_MSG = 1

/** #define NLA_F_NESTED (1 << 15) */
const NLA_F_NESTED = 0x8000

/** Room that begin() guarantees for one message; the largest one has about 200 bytes. */
const MESSAGE_ROOM = 1024

/** Writes messages into one buffer, which is reused: thousands of peers allocate no memory for messages. */
export class MessageWriter {
  readonly #buffer: Buffer
  #start = 0
  #end = 0

  constructor(capacity = 64 * 1024) {
    this.#buffer = Buffer.allocUnsafe(capacity)
  }

  /** All messages since reset(); a view, valid until the next reset(). */
  get written(): Buffer {
    return this.#buffer.subarray(0, this.#end)
  }

  reset(): void {
    this.#end = 0
  }

  /** Starts a message. The sender sets its number and further flags with stamp(). */
  begin(type: number, flags: number): void {
    if (this.#end + MESSAGE_ROOM > this.#buffer.length)
      throw new RangeError(`Cannot write a netlink message: ${this.#buffer.length} bytes are in use`)
    this.#start = this.#end
    this.u32(0)
    this.u16(type)
    this.u16(flags | NLM_F_REQUEST)
    this.u32(0)
    this.u32(0)
  }

  /** Ends the message that begin() started and gives it its number. */
  stamp(seq: number, flags: number): void {
    const buffer = this.#buffer
    buffer.writeUInt32LE(this.#end - this.#start, this.#start)
    buffer.writeUInt16LE(buffer.readUInt16LE(this.#start + 6) | flags, this.#start + 6)
    buffer.writeUInt32LE(seq, this.#start + 8)
  }

  u8(value: number): void {
    this.#buffer[this.#end++] = value
  }

  u16(value: number): void {
    this.#end = this.#buffer.writeUInt16LE(value, this.#end)
  }

  u32(value: number): void {
    this.#end = this.#buffer.writeUInt32LE(value >>> 0, this.#end)
  }

  /** struct nlattr { __u16 nla_len; __u16 nla_type; }, then the value, then zeros up to a multiple of 4. */
  attributeU8(type: number, value: number): void {
    this.u16(5)
    this.u16(type)
    this.u32(value & 0xff)
  }

  attributeU32(type: number, value: number): void {
    this.u16(8)
    this.u16(type)
    this.u32(value)
  }

  /** An attribute without a value: its presence is the value. */
  attributeFlag(type: number): void {
    this.u16(4)
    this.u16(type)
  }

  /** A port: 16 bits in network order. */
  attributeU16Be(type: number, value: number): void {
    this.u16(6)
    this.u16(type)
    this.u32(((value & 0xff) << 8) | (value >> 8))
  }

  /** Zero-terminated, as nla_put_string() does. ASCII. */
  attributeText(type: number, value: string): void {
    const at = this.nest(type)
    this.#end += this.#buffer.write(value, this.#end, 'latin1')
    this.u8(0)
    this.#close(at, type)
  }

  attributeIp(type: number, ip: Ip): void {
    const at = this.nest(type)
    if (familyOf(ip) === 'ipv4') this.#ipv4(ip)
    else {
      this.#buffer.set(ipToBytes(ip), this.#end)
      this.#end += 16
    }
    this.#close(at, type)
  }

  attributeMac(type: number, mac: Mac): void {
    this.u16(10)
    this.u16(type)
    for (let i = 0; i < 17; i += 3) this.u8((hexDigit(mac, i) << 4) | hexDigit(mac, i + 1))
    this.u16(0)
  }

  /** Starts an attribute that contains attributes. Pass the result to unnest(). */
  nest(type: number): number {
    const at = this.#end
    this.u16(0)
    this.u16(type)
    return at
  }

  unnest(at: number): void {
    this.#close(at, this.#buffer.readUInt16LE(at + 2) | NLA_F_NESTED)
  }

  #close(at: number, type: number): void {
    this.#buffer.writeUInt16LE(this.#end - at, at)
    this.#buffer.writeUInt16LE(type, at + 2)
    while ((this.#end & 3) !== 0) this.u8(0)
  }

  #ipv4(ip: Ip): void {
    let value = 0
    for (let i = 0; i < ip.length; i++) {
      const code = ip.charCodeAt(i)
      if (code === 46) {
        this.u8(value)
        value = 0
      } else value = value * 10 + code - 48
    }
    this.u8(value)
  }
}

/** Iterates over the messages of one datagram: after each next() this object shows the next message. */
export class Messages {
  readonly buffer: Buffer
  type = 0
  flags = 0
  seq = 0
  /** The payload is buffer[start..end). */
  start = 0
  end = 0
  #next = 0

  constructor(buffer: Buffer) {
    this.buffer = buffer
  }

  /** False at the end. Throws NetlinkDecodeError for an impossible length. */
  next(): boolean {
    const { buffer } = this
    const at = this.#next
    if (at === buffer.length) return false
    if (at + HEADER > buffer.length)
      throw new NetlinkDecodeError(`Cannot read a netlink message: ${buffer.length - at} bytes are no header`)
    const length = buffer.readUInt32LE(at)
    if (length < HEADER || at + length > buffer.length)
      throw new NetlinkDecodeError(
        `Cannot read a netlink message: length ${length} of ${buffer.length - at} bytes`,
      )
    this.type = buffer.readUInt16LE(at + 4)
    this.flags = buffer.readUInt16LE(at + 6)
    this.seq = buffer.readUInt32LE(at + 8)
    this.start = at + HEADER
    this.end = at + length
    this.#next = Math.min(buffer.length, at + ((length + 3) & ~3))
    return true
  }

  /** The error number and text of an NLMSG_ERROR or NLMSG_DONE; errno 0 is success. */
  outcome(): { readonly errno: number; readonly extack: string | undefined } {
    // NLMSG_DONE of an old kernel may have no number.
    if (this.end - this.start < 4) return { errno: 0, extack: undefined }
    const errno = -this.buffer.readInt32LE(this.start)
    return { errno, extack: (this.flags & NLM_F_ACK_TLVS) === 0 ? undefined : this.#extack() }
  }

  /** struct nlmsgerr { int error; struct nlmsghdr msg; }, the request unless capped, then attributes */
  #extack(): string | undefined {
    let at = this.start + 4
    if (this.type === NLMSG_ERROR) {
      if (this.end - at < HEADER) throw new NetlinkDecodeError('Cannot read a netlink error: it is cut off')
      const length = (this.flags & NLM_F_CAPPED) === 0 ? this.buffer.readUInt32LE(at) : HEADER
      at += (Math.max(length, HEADER) + 3) & ~3
    }
    if (at > this.end) throw new NetlinkDecodeError('Cannot read a netlink error: its request is cut off')
    const attributes = new Attributes(this.buffer, at, this.end)
    while (attributes.next()) if (attributes.type === NLMSGERR_ATTR_MSG) return attributes.text()
    return undefined
  }
}

function hexDigit(text: string, at: number): number {
  const code = text.charCodeAt(at)
  return code < 58 ? code - 48 : code - 87
}
