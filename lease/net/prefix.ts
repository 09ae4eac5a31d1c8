import { orUndefined } from '../common/errors.ts'
import {
  AddressError,
  type Family,
  familyBits,
  familyOf,
  type Ip,
  ipFromBytes,
  ipFromNumber,
  ipToBytes,
  ipToNumber,
  parseIp,
  refuseLongText,
} from './ip.ts'

declare const prefixBrand: unique symbol
/** A network in CIDR text, host bits zero: `10.1.5.0/24`, `fd00:12:13::/56`. Two are equal when `===`. */
export type Prefix = string & { readonly [prefixBrand]: true }

/** Parses `address/length`; host bits are cleared (`10.1.5.7/24` is `10.1.5.0/24`). Throws AddressError. */
export function parsePrefix(text: string): Prefix {
  refuseLongText(text)
  const slash = text.indexOf('/')
  if (slash < 0)
    throw new AddressError(`Cannot parse prefix '${text}': a length is missing, as in '${text}/24'`)
  const ip = parseIp(text.slice(0, slash))
  const length = text.slice(slash + 1)
  const bits = familyBits(familyOf(ip))
  if (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > bits)
    throw new AddressError(`Cannot parse prefix '${text}': length must be 0-${bits}`)
  return prefixOf(ip, Number(length))
}

/** As `parsePrefix`; undefined for a text that is no prefix. */
export function prefixOrUndefined(text: string): Prefix | undefined {
  return orUndefined(() => parsePrefix(text))
}

/** The prefix of that length (bits) that holds the address. Throws AddressError for an impossible length. */
export function prefixOf(ip: Ip, length: number): Prefix {
  const family = familyOf(ip)
  const bits = familyBits(family)
  if (!Number.isInteger(length) || length < 0 || length > bits)
    throw new AddressError(`Cannot make a prefix of ${ip}: length ${length} is not from 0 to ${bits}`)
  const bytes = ipToBytes(ip)
  for (let i = 0; i < bytes.length; i++) bytes[i] = (bytes[i] ?? 0) & byteMask(length, i)
  return `${ipFromBytes(bytes)}/${length}` as Prefix
}

/** The prefix that holds this one address: /32 or /128. */
export function hostPrefix(ip: Ip): Prefix {
  return `${ip}/${familyBits(familyOf(ip))}` as Prefix
}

/** The prefix that holds every address of a family: a default route's destination. */
export function everyAddress(family: Family): Prefix {
  return `${ipFromNumber(0n, family)}/0` as Prefix
}

/** Whether the prefix holds one address alone: /32 or /128. */
export function isSingleAddress(prefix: Prefix): boolean {
  return prefixLength(prefix) === familyBits(familyOf(prefix))
}

/** The first address, host bits zero. */
export function networkAddress(prefix: Prefix): Ip {
  return prefix.slice(0, prefix.indexOf('/')) as Ip
}

export function prefixLength(prefix: Prefix): number {
  return Number(prefix.slice(prefix.indexOf('/') + 1))
}

/** The n-th address of the prefix; 0 is the network address. Throws AddressError beyond the family's last. */
export function addressAt(prefix: Prefix, n: number): Ip {
  return ipFromNumber(ipToNumber(networkAddress(prefix)) + BigInt(n), familyOf(prefix))
}

/** Whether `outer` holds the whole of `inner`, an address or a prefix. False across families. */
export function contains(outer: Prefix, inner: Ip | Prefix): boolean {
  if (familyOf(outer) !== familyOf(inner)) return false
  const length = prefixLength(outer)
  const slash = inner.indexOf('/')
  if (slash >= 0 && prefixLength(inner as Prefix) < length) return false
  const network = ipToBytes(networkAddress(outer))
  const address = ipToBytes((slash < 0 ? inner : networkAddress(inner as Prefix)) as Ip)
  for (let i = 0; 8 * i < length; i++)
    if (network[i] !== ((address[i] ?? 0) & byteMask(length, i))) return false
  return true
}

/** The bits of byte `index` of an address that a prefix of this length fixes. */
function byteMask(length: number, index: number): number {
  const fixed = Math.min(Math.max(length - 8 * index, 0), 8)
  return (0xff00 >> fixed) & 0xff
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  return contains(a, b) || contains(b, a)
}

/** How many addresses a prefix of that length (in bits) holds. */
export function prefixSize(family: Family, length: number): bigint {
  return 1n << BigInt(familyBits(family) - length)
}

/** Undefined where hosts can have all addresses: in a /31 (RFC 3021), and in IPv6 without broadcast. */
export function edgesOf(prefix: Prefix): { readonly network: Ip; readonly broadcast: Ip } | undefined {
  const { family, last } = prefixRange(prefix)
  if (family === 'ipv6' || prefixLength(prefix) >= 31) return undefined
  return { network: networkAddress(prefix), broadcast: ipFromNumber(last, family) }
}

/** First and last address as numbers, for counting through subnets. */
export function prefixRange(prefix: Prefix): { family: Family; first: bigint; last: bigint } {
  const family = familyOf(prefix)
  const first = ipToNumber(networkAddress(prefix))
  return { family, first, last: first + prefixSize(family, prefixLength(prefix)) - 1n }
}
