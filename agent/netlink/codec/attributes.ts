import { type Ip, ipFromBytes, ipv4At } from '../../../lease/net/ip.ts'
import { type Mac, macAt } from '../../../lease/net/mac.ts'

/** Bytes that are no netlink message, or not one of the expected type. */
export class NetlinkDecodeError extends Error {
  override name = 'NetlinkDecodeError'
}

/** #define NLA_TYPE_MASK ~(NLA_F_NESTED | NLA_F_NET_BYTEORDER) */
export const NLA_TYPE_MASK = 0x3fff

/**
 * Iterates over attributes: after each next() this object shows the next attribute. A reader checks `type`
 * and skips types that it does not know: new kernels add attributes.
 *
 *   struct nlattr { __u16 nla_len; __u16 nla_type; };
 */
export class Attributes {
  readonly #buffer: Buffer
  readonly #limit: number
  type = 0
  #start = 0
  #end = 0
  #next: number

  /** Attributes lie in buffer[start..end). */
  constructor(buffer: Buffer, start: number, end: number) {
    this.#buffer = buffer
    this.#limit = end
    this.#next = start
    if (start > end)
      throw new NetlinkDecodeError(`Cannot read a netlink message: it lacks ${start - end} bytes`)
  }

  /** False at the end. Throws NetlinkDecodeError for an impossible length. */
  next(): boolean {
    const at = this.#next
    const left = this.#limit - at
    // nla_ok(): fewer bytes than a header at the end are padding.
    if (left < 4) return false
    const length = this.#buffer.readUInt16LE(at)
    if (length < 4 || length > left)
      throw new NetlinkDecodeError(`Cannot read a netlink attribute: length ${length} of ${left} bytes`)
    this.type = this.#buffer.readUInt16LE(at + 2) & NLA_TYPE_MASK
    this.#start = at + 4
    this.#end = at + length
    this.#next = Math.min(this.#limit, at + ((length + 3) & ~3))
    return true
  }

  get length(): number {
    return this.#end - this.#start
  }

  u8(): number {
    return this.#buffer.readUInt8(this.#require(1))
  }

  u16Be(): number {
    return this.#buffer.readUInt16BE(this.#require(2))
  }

  u32(): number {
    return this.#buffer.readUInt32LE(this.#require(4))
  }

  u32Be(): number {
    return this.#buffer.readUInt32BE(this.#require(4))
  }

  /** 4 or 16 bytes. */
  ip(): Ip {
    if (this.length !== 4 && this.length !== 16)
      throw new NetlinkDecodeError(
        `Cannot read attribute ${this.type}: ${this.length} bytes are no IP address`,
      )
    if (this.length === 4) return ipv4At(this.#buffer, this.#start)
    return ipFromBytes(this.#buffer.subarray(this.#start, this.#end))
  }

  /** struct rtvia { u16 rtvia_family; u8 rtvia_addr[]; }: a gateway of the other family (RFC 8950). */
  via(): Ip | undefined {
    const bytes = this.bytes().subarray(2)
    return bytes.length === 4 || bytes.length === 16 ? ipFromBytes(bytes) : undefined
  }

  /** Undefined for a link layer address of another kind: InfiniBand has 20 bytes, a tunnel 4 or none. */
  mac(): Mac | undefined {
    return this.length === 6 ? macAt(this.#buffer, this.#start) : undefined
  }

  /** Up to the terminating zero, or the end. */
  text(): string {
    const bytes = this.#buffer.subarray(this.#start, this.#end)
    const zero = bytes.indexOf(0)
    return bytes.toString('utf8', 0, zero < 0 ? bytes.length : zero)
  }

  bytes(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end)
  }

  nested(): Attributes {
    return new Attributes(this.#buffer, this.#start, this.#end)
  }

  #require(bytes: number): number {
    if (this.length < bytes)
      throw new NetlinkDecodeError(
        `Cannot read attribute ${this.type}: ${this.length} of ${bytes} bytes are there`,
      )
    return this.#start
  }
}

/** A message while its attributes are read. */
export type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** Throws NetlinkDecodeError where the fixed part of a message is incomplete. */
export function requireHeader(what: string, start: number, end: number, bytes: number): void {
  if (end - start < bytes)
    throw new NetlinkDecodeError(`Cannot read ${what}: ${end - start} of ${bytes} bytes are there`)
}
