import { type BackendData, backendDataJson, readBackendData } from './backend_data.ts'
import { DataError, messageOf } from './common/errors.ts'
import { type Fields, field, goJson, parseFields, printJson } from './json/json.ts'
import type { Lease, Subnet } from './lease.ts'
import { AddressError, type Family, familyOf, type Ip, isOnePerFamily, parseIp } from './net/ip.ts'
import { networkAddress, type Prefix, parsePrefix, prefixLength } from './net/prefix.ts'

/** flannel's etcd format under `<prefix>/subnets/`: written byte for byte as by flanneld, read as by Go. */

/** A key or value that is no lease. The message names the key, the value and the remedy. */
export class WireError extends DataError {
  override name = 'WireError'
}

/** What a node publishes under its subnet key; `publicIps` and `backendData` in the order of the prefixes. */
export interface LeaseValue {
  readonly publicIps: readonly Ip[]
  /** Left out of the text where empty, as are undefined backend data. */
  readonly backendType: string
  readonly backendData: readonly BackendData[]
}

/** What differs between the families. flanneld accepts no key with a prefix longer than `maxLength` bits. */
const perFamily: Readonly<
  Record<Family, { publicIp: string; backendData: string; maxLength: number; none: Ip }>
> = {
  ipv4: { publicIp: 'PublicIP', backendData: 'BackendData', maxLength: 31, none: '0.0.0.0' as Ip },
  ipv6: { publicIp: 'PublicIPv6', backendData: 'BackendV6Data', maxLength: 127, none: '::' as Ip },
}

/** Characters of a backend's name: flannel's longest is `tencent-vpc`. */
export const MAX_BACKEND_TYPE = 64

/** In a key, the IPv4 part of a lease with IPv6 only. */
const NO_IPV4 = '0.0.0.0-0'
const keyPattern = /^(\d+\.\d+\.\d+\.\d+)-(\d+)(?:&([a-f\d:]+)-(\d+))?$/

/**
 * `10.1.5.0-24`, `10.12.13.0-24&fd00:12:13::-56` or, for IPv6 alone, `0.0.0.0-0&fd00:12:13::-56`. The last
 * form is flanneld's own, although its allocator then counts all of IPv4 as taken; a form that it cannot
 * parse would be worse: flanneld reads a list with one such key as empty and removes every peer. Throws
 * WireError unless there is one prefix, or one of each family with IPv4 first.
 */
export function encodeSubnetKey(prefixes: readonly Prefix[]): string {
  if (!isOnePerFamily(prefixes))
    throw new WireError(
      `Cannot make a subnet key of '${prefixes.join(' + ')}': one prefix a family is needed, IPv4 first`,
    )
  const parts = prefixes.map(prefix => `${networkAddress(prefix)}-${prefixLength(prefix)}`)
  const hasIpv4 = prefixes.some(prefix => familyOf(prefix) === 'ipv4')
  const key = hasIpv4 ? parts.join('&') : `${NO_IPV4}&${parts[0]}`
  decodeSubnetKey(key)
  return key
}

/** The key without `<prefix>/subnets/`. One prefix or two, IPv4 first. Throws WireError. */
export function decodeSubnetKey(key: string): readonly Prefix[] {
  const match = keyPattern.exec(key)
  if (match === null) throw badKey(key, "it must look like '10.1.5.0-24' or '10.1.5.0-24&fd00:1:5::-64'")
  const [, ip4 = '', length4 = '', ip6, length6 = ''] = match
  const prefixes: Prefix[] = []
  if (ip6 === undefined || `${ip4}-${length4}` !== NO_IPV4) prefixes.push(keyPrefix(key, ip4, length4))
  if (ip6 !== undefined) prefixes.push(keyPrefix(key, ip6, length6))
  return prefixes
}

/** The text of a value. Throws WireError where there is not one public IP and one backend data a family. */
export function encodeLeaseValue({ publicIps, backendType, backendData }: LeaseValue): string {
  if (!isOnePerFamily(publicIps))
    throw new WireError(
      `Cannot make a lease value of the public IPs '${publicIps.join(' + ')}': one a family is needed, IPv4 first`,
    )
  if (backendData.length !== 0 && backendData.length !== publicIps.length)
    throw new WireError(
      `Cannot make a lease value of ${publicIps.length} public IPs and ${backendData.length} backend data: ` +
        'one a family is needed',
    )
  const at = (family: Family) => publicIps.findIndex(ip => familyOf(ip) === family)
  // Go writes fields in the order of its struct: a missing IPv4 address as 0.0.0.0, a missing IPv6 address as
  // null.
  return goJson({
    PublicIP: publicIps[at('ipv4')] ?? perFamily.ipv4.none,
    PublicIPv6: publicIps[at('ipv6')] ?? null,
    BackendType: backendType === '' ? undefined : backendType,
    BackendData: backendDataJson(backendData[at('ipv4')]),
    BackendV6Data: backendDataJson(backendData[at('ipv6')]),
  })
}

/**
 * The key is also the node's name; `since` is its create_revision. A family without a public IP gets the
 * unspecified address, as in Go; at least one must have one. Throws WireError.
 */
export function decodeLease(key: string, value: string, since: number): Lease {
  const prefixes = decodeSubnetKey(key)
  const fields = parse(key, value)
  const type = field(fields, 'BackendType') ?? ''
  if (typeof type !== 'string' || type.length > MAX_BACKEND_TYPE)
    throw badField(key, 'BackendType', type, `a name of at most ${MAX_BACKEND_TYPE} characters is needed`)
  const subnets = prefixes.map((prefix): Subnet => {
    const names = perFamily[familyOf(prefix)]
    const publicIp = decodeIp(key, fields, familyOf(prefix))
    return { prefix, publicIp, backendData: readBackendData(field(fields, names.backendData)) }
  })
  if (subnets.every(({ prefix, publicIp }) => publicIp === perFamily[familyOf(prefix)].none))
    throw badValue(key, `${printJson(value)} has no public IP`)
  return { node: key, backendType: type.toLowerCase(), subnets, since }
}

function keyPrefix(key: string, ip: string, length: string): Prefix {
  const { maxLength } = perFamily[familyOf(ip)]
  if (Number(length) < 1 || Number(length) > maxLength)
    throw badKey(key, `the length ${length} is not from 1 to ${maxLength}`)
  try {
    const prefix = parsePrefix(`${ip}/${length}`)
    const first = networkAddress(prefix)
    if (first === ip || first === parseIp(ip)) return prefix
    throw badKey(key, `${ip} is not the first address of ${prefix}`)
  } catch (cause) {
    throw cause instanceof AddressError ? badKey(key, cause.message, cause) : cause
  }
}

function parse(key: string, value: string): Fields {
  try {
    return parseFields(value)
  } catch (cause) {
    const why = messageOf(cause)
    throw badValue(key, `${printJson(value)} is no lease: ${why}`, cause)
  }
}

function decodeIp(key: string, fields: Fields, family: Family): Ip {
  const { publicIp: name, none } = perFamily[family]
  const value = field(fields, name) ?? none
  try {
    if (typeof value === 'string' && familyOf(value) === family) return parseIp(value)
  } catch (cause) {
    throw badField(key, name, value, `an ${family} address is needed`, cause)
  }
  throw badField(key, name, value, `an ${family} address is needed`)
}

function badKey(key: string, why: string, cause?: unknown): WireError {
  return new WireError(
    `Cannot read subnet key ${printJson(key)}: ${why}; delete the key if no node holds it`,
    {
      cause,
    },
  )
}

function badField(key: string, name: string, value: unknown, why: string, cause?: unknown): WireError {
  return badValue(key, `${name} is ${printJson(value)}: ${why}`, cause)
}

function badValue(key: string, why: string, cause?: unknown): WireError {
  return new WireError(
    `Cannot read the lease under ${printJson(key)}: ${why}; restart the agent of its node, or delete the key if that is gone`,
    { cause },
  )
}
