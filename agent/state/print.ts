import { familyOf } from '../../lease/net/ip.ts'
import { isSingleAddress, networkAddress, prefixLength } from '../../lease/net/prefix.ts'
import type { Entry, FdbEntry, Link, Route } from './entry.ts'

/** As in iproute2's rt_protos. `ip route` prints no `proto boot`, and neither does this file. */
const protocolNames: Readonly<Record<number, string>> = {
  2: 'kernel',
  4: 'static',
  9: 'ra',
  16: 'dhcp',
  186: 'bgp',
}

/**
 * An entry as iproute2 prints it, its kind first. Two entries are equal when they print the same: this text
 * serves the diff, the log, the CLI and the tests.
 */
export function printEntry(entry: Entry): string {
  switch (entry.kind) {
    case 'link':
      return printLink(entry)
    case 'address':
      return `address ${entry.address}/${entry.length} dev ${entry.dev}`
    case 'fdb':
      return printFdb(entry)
    case 'neighbor':
      return `neighbor ${entry.address} dev ${entry.dev} lladdr ${entry.mac}`
    case 'route':
      return printRoute(entry)
  }
}

/** Compares fields first: printing thousands of equal entries would take long. */
export function printsSame(a: Entry, b: Entry): boolean {
  return a === b || (hasFieldsOf(a, b) && hasFieldsOf(b, a)) || printEntry(a) === printEntry(b)
}

/** The kernel holds one entry a key. It may hold several destinations for a MAC; here one counts. */
export function entryKey(entry: Entry): string {
  // The keys of thousands of entries stay in memory. V8 keeps a joined string flat, and a template string as
  // a tree of its parts.
  return keyWords(entry).join(' ')
}

function keyWords(entry: Entry): readonly (string | number)[] {
  switch (entry.kind) {
    case 'link':
      return ['link', entry.name]
    case 'address':
      return ['address', `${entry.address}/${entry.length}`, 'dev', entry.dev]
    case 'fdb':
      return ['fdb', entry.mac, 'dev', entry.dev]
    case 'neighbor':
      return ['neighbor', entry.address, 'dev', entry.dev]
    case 'route':
      return ['route', entry.dst, 'metric', entry.metric]
  }
}

/** The device of an entry; undefined for a device itself and for an entry that needs no device. */
export function entryDevice(entry: Entry): string | undefined {
  if (entry.kind === 'link' || (entry.kind === 'route' && entry.type !== 'unicast')) return undefined
  return entry.dev
}

/** Whether `b` has each field of `a`. False for devices, which have objects in fields: they are few. */
function hasFieldsOf(a: Entry, b: Entry): boolean {
  for (const field in a) if (a[field as keyof Entry] !== b[field as keyof Entry]) return false
  return true
}

function printLink(link: Link): string {
  const { vni, port, local, underlay, learning, gbp, extra } = link.vxlan
  const words = [learning ? 'learning' : 'nolearning']
  if (gbp) words.push('gbp')
  if (extra !== undefined) words.push(extra)
  const side = familyOf(local) === 'ipv6' ? 'local6' : 'local'
  const held = `${link.master === undefined ? '' : ` master if${link.master}`}${link.protodown ? ' protodown on' : ''}`
  return `link ${link.name} mtu ${link.deviceMtu} state ${link.up ? 'UP' : 'DOWN'}${held} address ${link.mac} vxlan id ${vni} ${side} ${local} dev ${underlay} dstport ${port} ${words.join(' ')}`
}

function printFdb({ mac, dev, dst, port, vni, via }: FdbEntry): string {
  const words = [`fdb ${mac} dev ${dev} dst ${dst}`]
  if (port !== undefined) words.push(`port ${port}`)
  if (vni !== undefined) words.push(`vni ${vni}`)
  if (via !== undefined) words.push(`via if${via}`)
  return words.join(' ')
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
  if (route.type === 'unicast' && route.extra !== undefined) words.push(route.extra)
  return words.join(' ')
}

/** `ip route` writes a host route without its length and 0/0 as `default`. */
function printDestination({ dst }: Route): string {
  if (prefixLength(dst) === 0) return 'default'
  return isSingleAddress(dst) ? networkAddress(dst) : dst
}
