import { type Family, familyBits, familyOf, type Ip } from '../../lease/net/ip.ts'
import { type Mac, parseMac } from '../../lease/net/mac.ts'
import { type Prefix, parsePrefix } from '../../lease/net/prefix.ts'

/**
 * What one host's kernel says of its network at one moment: a plain document, which a walk or a check reads without touching
 * the host. Made from iproute2's JSON (ip-link(8), ip-rule(8), ip-route(8), ip-neighbour(8), bridge(8), all with `-j`).
 */
export interface HostFacts {
  readonly links: readonly LinkFacts[]
  /** Of both families, by priority. */
  readonly rules: readonly RuleFacts[]
  /** Of all tables. */
  readonly routes: readonly TableRoute[]
  readonly neighbors: readonly NeighborFacts[]
  /** FDB entries with a destination: those of VXLAN devices. */
  readonly fdb: readonly FdbFacts[]
  /** By name: `net.ipv4.ip_forward`. */
  readonly sysctls: Readonly<Record<string, string>>
  /** Text of `iptables-save`, once for each family and flavour that answered; iptables(8). */
  readonly iptables: readonly IptablesDump[]
  /** `nft -j list ruleset`: JSON of libnftables-json(5); undefined where nft did not answer. */
  readonly nftables: unknown
  /** What could not be read, and why: one sentence each. */
  readonly unseen: readonly string[]
}

export interface LinkFacts {
  readonly name: string
  /** `vxlan`, `bridge`, `veth`, ...; undefined for a plain network card. */
  readonly kind: string | undefined
  readonly up: boolean
  /** LOWER_UP: a cable, or a peer, is there. */
  readonly carrier: boolean
  /** In bytes. */
  readonly mtu: number
  readonly mac: Mac | undefined
  /** The bridge or bond that it is a port of. */
  readonly master: string | undefined
  readonly vxlan: VxlanFacts | undefined
  readonly addresses: readonly { readonly address: Ip; readonly length: number }[]
}

export interface VxlanFacts {
  readonly vni: number
  readonly port: number
  readonly local: Ip | undefined
  readonly underlay: string | undefined
}

export interface RuleFacts {
  readonly family: Family
  readonly priority: number
  readonly src: Prefix | undefined
  readonly dst: Prefix | undefined
  readonly iif: string | undefined
  readonly oif: string | undefined
  readonly mark: { readonly value: number; readonly mask: number } | undefined
  /** A table's name or number; undefined where the rule itself decides. */
  readonly table: string | undefined
  /** `blackhole`, `unreachable`, `prohibit`, `goto`, `nop`: undefined for a look-up in `table`. */
  readonly action: string | undefined
  /** The result of the look-up is ignored where its prefix is this long or shorter. */
  readonly suppressLength: number | undefined
  /** `not from ...`. */
  readonly inverted: boolean
  /** Selectors that this document cannot judge (uid range, protocol, ports, tos), as ip prints them. */
  readonly others: readonly string[]
}

export interface TableRoute {
  readonly table: string
  /** `unicast`, `local`, `blackhole`, `unreachable`, `prohibit`, `throw`, ... */
  readonly type: string
  readonly dst: Prefix
  /** Of a route over several paths the first. */
  readonly via: Ip | undefined
  readonly dev: string | undefined
  readonly metric: number
  readonly protocol: string
  readonly flags: readonly string[]
}

export interface NeighborFacts {
  readonly address: Ip
  readonly dev: string
  readonly mac: Mac | undefined
  readonly states: readonly string[]
}

export interface FdbFacts {
  readonly mac: Mac
  readonly dev: string
  readonly dst: Ip
}

export interface IptablesDump {
  readonly family: Family
  /** `iptables-save`, `iptables-legacy-save`, ... */
  readonly command: string
  readonly text: string
}

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
      vxlan: info.info_kind === 'vxlan' ? vxlanOf(object(info.info_data)) : undefined,
      addresses: rows(row.addr_info).map(address => ({
        address: address.local as Ip,
        length: Number(address.prefixlen),
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

/** From `ip -j route show table all`; a route without a table is of main. */
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
    return mac === undefined || row.dst === undefined
      ? []
      : [{ mac, dev: text(row.ifname) ?? '?', dst: row.dst as Ip }]
  })
}

function vxlanOf(data: Json): VxlanFacts {
  return {
    vni: Number(data.id),
    port: Number(data.port),
    local: (text(data.local) ?? text(data.local6)) as Ip | undefined,
    underlay: text(data.link),
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
  if (dst === 'default') return family === 'ipv6' ? ('::/0' as Prefix) : ('0.0.0.0/0' as Prefix)
  return parsePrefix(dst.includes('/') ? dst : `${dst}/${familyBits(familyOf(dst))}`)
}

function macOf(value: unknown): Mac | undefined {
  return typeof value === 'string' && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(value)
    ? parseMac(value)
    : undefined
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
