import { isIPv4, isIPv6 } from 'node:net'
import { DataError, orUndefined } from '../common/errors.ts'

/** The IP version. Only codecs may branch on it. */
export type Family = 'ipv4' | 'ipv6'

/** Both families, in the order in which lists name them. */
export const allFamilies: readonly Family[] = ['ipv4', 'ipv6']

declare const ipBrand: unique symbol
/** An IPv4 or IPv6 address in canonical text (dotted quad, RFC 5952): equal addresses are `===`. */
export type Ip = string & { readonly [ipBrand]: true }

/** The text or bytes are no IP address, prefix or MAC. The message names the act and the value. */
export class AddressError extends DataError {
  override name = 'AddressError'
}

/** More characters than any address, prefix or MAC has. A longer text is refused without parsing it. */
const MAX_TEXT = 64

/** Parses strictly: no leading zeros, no zone id, no prefix length. Throws AddressError. */
export function parseIp(text: string): Ip {
  refuseLongText(text)
  if (/[/%\s]/.test(text))
    throw new AddressError(`Cannot parse IP address '${text}': a bare address is needed`)
  // isIPv4 accepts only dotted quads without leading zeros, which is the canonical text.
  if (isIPv4(text)) return text as Ip
  // A URL's host is written by RFC 5952, also where the last 32 bits are given as in IPv4 (RFC 4291, 2.2).
  if (isIPv6(text)) return new URL(`http://[${text}]`).hostname.slice(1, -1) as Ip
  const example = text.includes(':') ? 'fd00::1' : '192.168.0.1'
  throw new AddressError(`Cannot parse IP address '${text}': an address like ${example} is needed`)
}

export function ipOrUndefined(text: string): Ip | undefined {
  return orUndefined(() => parseIp(text))
}

/** Throws AddressError where the text is too long: call it before parsing or quoting the text. */
export function refuseLongText(text: string): void {
  if (text.length > MAX_TEXT)
    throw new AddressError(
      `Cannot parse an address of ${text.length} characters: '${text.slice(0, MAX_TEXT)}...'`,
    )
}

/** Reads 4 bytes in network order from `start`. Fast: a kernel snapshot holds thousands of them. */
export function ipv4At(bytes: Uint8Array, start: number): Ip {
  return `${bytes[start]}.${bytes[start + 1]}.${bytes[start + 2]}.${bytes[start + 3]}` as Ip
}

/** 4 or 16 bytes in network order. Throws AddressError for any other length. */
export function ipFromBytes(bytes: Uint8Array): Ip {
  if (bytes.length === 4) return ipv4At(bytes, 0)
  if (bytes.length === 16) return formatIpv6(bytes) as Ip
  throw new AddressError(`Cannot read an IP address from ${bytes.length} bytes: 4 or 16 are needed`)
}

/** Network order: 4 bytes for IPv4, 16 for IPv6. */
export function ipToBytes(ip: Ip): Uint8Array {
  if (familyOf(ip) === 'ipv6') return ipv6Bytes(ip)
  const bytes = new Uint8Array(4)
  let at = 0
  let value = 0
  for (let i = 0; i < ip.length; i++) {
    const code = ip.charCodeAt(i)
    if (code === 46) {
      bytes[at++] = value
      value = 0
    } else value = value * 10 + code - 48
  }
  bytes[at] = value
  return bytes
}

export function familyOf(address: string): Family {
  return address.includes(':') ? 'ipv6' : 'ipv4'
}

/** Whether these are one address or prefix, or one of each family with IPv4 first, as in a lease. */
export function isOnePerFamily(addresses: readonly string[]): boolean {
  return ['ipv4', 'ipv6', 'ipv4+ipv6'].includes(addresses.map(familyOf).join('+'))
}

/** A host as in a URL: an IPv6 address is in brackets (RFC 3986, 3.2.2). */
export function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

/** The URL's host without the brackets of an IPv6 address. Throws TypeError for a text that is no URL. */
export function hostOf(url: string | URL): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, '')
}

/** Address length of a family in bits: 32 or 128. */
export function familyBits(family: Family): 32 | 128 {
  return family === 'ipv6' ? 128 : 32
}

export function ipToNumber(ip: Ip): bigint {
  let value = 0n
  for (const byte of ipToBytes(ip)) value = (value << 8n) | BigInt(byte)
  return value
}

/** Throws AddressError where the number does not fit the family. */
export function ipFromNumber(value: bigint, family: Family): Ip {
  const bytes = new Uint8Array(familyBits(family) / 8)
  let rest = value
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn)
    rest >>= 8n
  }
  if (rest !== 0n) throw new AddressError(`Cannot make an ${family} address of ${value}: out of range`)
  return ipFromBytes(bytes)
}

/** What an address is for (RFC 6890). `mapped` is an IPv4 address inside IPv6 (RFC 4291, 2.5.5). */
export type IpScope =
  | 'unspecified'
  | 'loopback'
  | 'multicast'
  | 'link-local'
  | 'broadcast'
  | 'mapped'
  | 'global'

export function scopeOf(ip: Ip): IpScope {
  return familyOf(ip) === 'ipv6' ? ipv6Scope(ip) : ipv4Scope(ip)
}

/** Allocates no bytes: a kernel snapshot calls this thousands of times. */
function ipv4Scope(ip: Ip): IpScope {
  const first = Number.parseInt(ip, 10)
  // Since Linux 5.3 the rest of 0.0.0.0/8 is unicast (ipv4_is_zeronet()).
  if (ip === '0.0.0.0') return 'unspecified'
  if (first === 127) return 'loopback'
  if (first >= 224 && first <= 239) return 'multicast'
  if (ip.startsWith('169.254.')) return 'link-local'
  // Linux sends to and from 240.0.0.0/4 as to any other unicast address (ipv4_is_lbcast() alone is
  // broadcast).
  return ip === '255.255.255.255' ? 'broadcast' : 'global'
}

function ipv6Scope(ip: Ip): IpScope {
  if (ip === '::') return 'unspecified'
  if (ip === '::1') return 'loopback'
  const b = ipv6Bytes(ip)
  const [first = 0, second = 0] = b
  if (first === 0xff) return 'multicast'
  if (first === 0xfe && (second & 0xc0) === 0x80) return 'link-local'
  const mapped = b.subarray(0, 10).every(byte => byte === 0) && b[10] === 0xff && b[11] === 0xff
  return mapped ? 'mapped' : 'global'
}

function ipv6Bytes(ip: string): Uint8Array {
  const bytes = new Uint8Array(16)
  const [head = '', tail] = ip.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const write = (groups: string[], start: number) => {
    groups.forEach((group, i) => {
      const value = Number.parseInt(group, 16)
      bytes[start + 2 * i] = value >> 8
      bytes[start + 2 * i + 1] = value & 0xff
    })
  }
  write(before, 0)
  write(after, 16 - 2 * after.length)
  return bytes
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups becomes `::`. */
function formatIpv6(bytes: Uint8Array): string {
  const groups: number[] = []
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0))
  let [start, length] = [-1, 1]
  for (let i = 0; i < 8; i++) {
    let end = i
    while (end < 8 && groups[end] === 0) end++
    if (end - i > length) [start, length] = [i, end - i]
    if (end > i) i = end
  }
  const hex = (part: number[]) => part.map(group => group.toString(16)).join(':')
  if (start < 0) return hex(groups)
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`
}
