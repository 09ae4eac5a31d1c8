/** Parses the output of iproute2's `-j`: ip-link(8), ip-rule(8), ip-route(8), ip-neighbour(8), bridge(8). */
import { type Family, familyBits, familyOf, type Ip } from '../../lease/net/ip.ts'
import { type Mac, parseMac } from '../../lease/net/mac.ts'
import { everyAddress, type Prefix, parsePrefix } from '../../lease/net/prefix.ts'
import type {
  FdbFacts,
  LinkFacts,
  NeighborFacts,
  RuleFacts,
  TableRoute,
  VxlanFacts,
} from '../diagnose/host_facts.ts'

type Json = Readonly<Record<string, unknown>>

/** From `ip -j -d address show`, which lists the links' details too. */
export function parseLinks(json: unknown): LinkFacts[] {
  return rows(json).map(row => {
    const info = object(row.linkinfo)
    const flags = strings(row.flags)
    return {
      name: text(row.ifname) ?? '?',
      kind: text(info.info_kind),
      up: flags.includes('UP'),
      carrier: flags.includes('LOWER_UP'),
      mtu: Number(row.mtu),
      mac: macOf(row.address),
      master: text(row.master),
      portState: info.info_slave_kind === 'bridge' ? text(object(info.info_slave_data).state) : undefined,
      noNeighbors: flags.includes('POINTOPOINT') || (flags.includes('NOARP') && !flags.includes('LOOPBACK')),
      leadsElsewhere: info.info_kind === 'veth' && 'link_netnsid' in row,
      vxlan: info.info_kind === 'vxlan' ? vxlanOf(object(info.info_data)) : undefined,
      addresses: rows(row.addr_info).map(one => ({
        address: one.local as Ip,
        length: Number(one.prefixlen),
      })),
    }
  })
}

/** From `ip -j rule show`. */
export function parseRules(json: unknown, family: Family): RuleFacts[] {
  return rows(json).map(row => ({
    family,
    priority: Number(row.priority),
    src: selector(row.src, row.srclen, family),
    dst: selector(row.dst, row.dstlen, family),
    iif: text(row.iif),
    oif: text(row.oif),
    mark: markOf(row),
    table: text(row.table),
    action: text(row.action),
    suppressLength: typeof row.suppress_prefixlength === 'number' ? row.suppress_prefixlength : undefined,
    inverted: 'not' in row,
    others: unjudged.filter(name => name in row).map(name => `${name} ${row[name]}`),
  }))
}

const unjudged = ['tos', 'ipproto', 'sport', 'dport', 'uid_start', 'tun_id', 'l3mdev']

/** From `ip -j route show table all`; a route without a table is in main. */
export function parseRoutes(json: unknown, family: Family): TableRoute[] {
  return rows(json).map(row => {
    const hop = rows(row.nexthops)[0] ?? row
    return {
      table: text(row.table) ?? 'main',
      type: text(row.type) ?? 'unicast',
      dst: destination(text(row.dst) ?? 'default', family),
      via: (text(hop.gateway) ?? text(object(hop.via).host)) as Ip | undefined,
      dev: text(hop.dev),
      metric: Number(row.metric ?? 0),
      protocol: text(row.protocol) ?? 'boot',
      flags: Array.from(new Set([...strings(row.flags), ...strings(hop.flags)])),
    }
  })
}

/** From `ip -j neigh show`. */
export function parseNeighbors(json: unknown): NeighborFacts[] {
  return rows(json).map(row => ({
    address: row.dst as Ip,
    dev: text(row.dev) ?? '?',
    mac: macOf(row.lladdr),
    states: strings(row.state),
  }))
}

/** From `bridge -j fdb show`. */
export function parseFdb(json: unknown): FdbFacts[] {
  return rows(json).flatMap(row => {
    const mac = macOf(row.mac)
    if (mac === undefined || row.dst === undefined) return []
    return { mac, dev: text(row.ifname) ?? '?', dst: row.dst as Ip }
  })
}

/** VXLAN_F_RCV_FLAGS of <net/vxlan.h>, as ip-link(8) names them. */
const sharedOptions = ['gbp', 'gpe', 'external', 'udp_zero_csum6_rx', 'remcsum_rx']

function vxlanOf(data: Json): VxlanFacts {
  return {
    vni: Number(data.id),
    port: Number(data.port),
    local: (text(data.local) ?? text(data.local6)) as Ip | undefined,
    underlay: text(data.link),
    options: sharedOptions.filter(name => data[name] === true),
  }
}

function selector(address: unknown, length: unknown, family: Family): Prefix | undefined {
  if (typeof address !== 'string' || address === 'all') return undefined
  return parsePrefix(`${address}/${typeof length === 'number' ? length : familyBits(family)}`)
}

function markOf(row: Json): RuleFacts['mark'] {
  if (row.fwmark === undefined) return undefined
  return { value: Number(row.fwmark), mask: Number(row.fwmask ?? 0xffffffff) }
}

function destination(dst: string, family: Family): Prefix {
  if (dst === 'default') return everyAddress(family)
  return parsePrefix(dst.includes('/') ? dst : `${dst}/${familyBits(familyOf(dst))}`)
}

function macOf(value: unknown): Mac | undefined {
  const isMac = typeof value === 'string' && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(value)
  return isMac ? parseMac(value) : undefined
}

/** `ip -j` prints empty objects for what a filter left out. */
function rows(json: unknown): readonly Json[] {
  return Array.isArray(json) ? json.filter(row => Object.keys(object(row)).length > 0) : []
}

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {}
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter(item => typeof item === 'string') : []
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
