import { familyOf } from '../../lease/net/ip.ts'
import { networkAddress, prefixLength } from '../../lease/net/prefix.ts'
import type { Entry, Link, Route } from './entry.ts'

/** RTPROT_* names as in iproute2's rt_protos; `boot` is left out by `ip route`, as it is here. */
const protocolNames: Readonly<Record<number, string>> = {
  2: 'kernel',
  4: 'static',
  9: 'ra',
  16: 'dhcp',
  186: 'bgp',
}

/**
 * An entry as iproute2 prints it (`ip link`, `ip address`, `bridge fdb`, `ip neigh`, `ip route`), its kind first.
 * Two entries are equal when they print the same: this text serves the diff, the log, the CLI and the tests.
 */
export function printEntry(entry: Entry): string {
  switch (entry.kind) {
    case 'link':
      return printLink(entry)
    case 'address':
      return `address ${entry.address}/${entry.length} dev ${entry.dev}`
    case 'fdb':
      return `fdb ${entry.mac} dev ${entry.dev} dst ${entry.dst}`
    case 'neighbor':
      return `neighbor ${entry.address} dev ${entry.dev} lladdr ${entry.mac}`
    case 'route':
      return printRoute(entry)
  }
}

/** Whether two entries print the same. Their fields are compared first: that spares printing thousands that are equal. */
export function printsSame(a: Entry, b: Entry): boolean {
  return a === b || hasSameFields(a, b) || printEntry(a) === printEntry(b)
}

/**
 * What an entry is known by, and two owners cannot both have: the kernel holds one entry a key. An FDB entry's MAC may have
 * several destinations there, but lives behind one VTEP here.
 */
export function entryKey(entry: Entry): string {
  switch (entry.kind) {
    case 'link':
      return `link ${entry.name}`
    case 'address':
      return `address ${entry.address}/${entry.length} dev ${entry.dev}`
    case 'fdb':
      return `fdb ${entry.mac} dev ${entry.dev}`
    case 'neighbor':
      return `neighbor ${entry.address} dev ${entry.dev}`
    case 'route':
      return `route ${entry.dst} metric ${entry.metric}`
  }
}

/** The device that an entry sits on; undefined for a device itself and for an entry that needs none. */
export function entryDevice(entry: Entry): string | undefined {
  if (entry.kind === 'link' || (entry.kind === 'route' && entry.type !== 'unicast')) return undefined
  return entry.dev
}

function hasSameFields(a: Entry, b: Entry): boolean {
  for (const name in a) if (a[name as keyof Entry] !== b[name as keyof Entry]) return false
  return true
}

function printLink(link: Link): string {
  const { vni, port, local, underlay, learning, gbp, extra } = link.vxlan
  const words = [learning ? 'learning' : 'nolearning']
  if (gbp) words.push('gbp')
  if (extra !== undefined) words.push(extra)
  const side = familyOf(local) === 'ipv6' ? 'local6' : 'local'
  return `link ${link.name} mtu ${link.deviceMtu} state ${link.up ? 'UP' : 'DOWN'} address ${link.mac} vxlan id ${vni} ${side} ${local} dev ${underlay} dstport ${port} ${words.join(' ')}`
}

function printRoute(route: Route): string {
  const words = ['route']
  if (route.type === 'blackhole') words.push('blackhole')
  words.push(printDestination(route))
  if (route.type === 'unicast') {
    if (route.via !== undefined) words.push(`via ${route.via}`)
    words.push(`dev ${route.dev}`)
  }
  if (route.protocol !== 3) words.push(`proto ${protocolNames[route.protocol] ?? route.protocol}`)
  if (route.metric !== 0) words.push(`metric ${route.metric}`)
  if (route.type === 'unicast' && route.onlink) words.push('onlink')
  return words.join(' ')
}

/** `ip route` writes a host route without its length and 0/0 as `default`. */
function printDestination(route: Route): string {
  const length = prefixLength(route.dst)
  if (length === 0) return 'default'
  const host = length === (familyOf(route.dst) === 'ipv6' ? 128 : 32)
  return host ? networkAddress(route.dst) : route.dst
}
