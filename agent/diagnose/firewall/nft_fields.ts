import { type Json, listOf, objectOf } from './nft_json.ts'
import { type FirewallPacket, someInterface } from './verdict.ts'

/** One field of a packet: null if the packet has no such field, undefined if its value is not known. */
export type Field = (packet: FirewallPacket) => string | null | undefined

/** The fields on the left side of a match: one, or those of a concatenation, `ip saddr . udp dport`. */
export function fieldsOf(left: unknown): readonly Field[] {
  const { concat } = objectOf(left)
  return (concat === undefined ? [left] : listOf(concat)).map(one => fieldOf(objectOf(one)))
}

const unknown: Field = () => undefined

function fieldOf(left: Json): Field {
  if (left.payload !== undefined) return payloadField(objectOf(left.payload))
  if (left.meta !== undefined) return metaField(objectOf(left.meta))
  if (isWayBack(objectOf(left.fib))) return ({ isRoutedBack }) => isRoutedBack?.toString()
  // A packet to a pod's or a node's own address was not translated.
  if (objectOf(left.ct).key === 'status') return () => ''
  if (objectOf(left.ct).key === 'state') return ({ isAnswer }) => (isAnswer ? 'established' : 'new')
  return unknown
}

const familyOf: Readonly<Record<string, FirewallPacket['family']>> = { ip: 'ipv4', ip6: 'ipv6' }

const transports: ReadonlySet<string> = new Set(['tcp', 'udp', 'icmp', 'icmpv6', 'sctp', 'dccp', 'udplite'])

function payloadField(payload: Json): Field {
  const { protocol: header, field, tunnel } = payload
  if (isVni(payload)) return ({ vni }) => vni?.toString()
  // A header of the packet inside a tunnel.
  if (tunnel !== undefined || typeof header !== 'string') return unknown
  const family = familyOf[header]
  if (family !== undefined) {
    const value = headerField(field)
    return packet => (packet.family === family ? value(packet) : null)
  }
  if (header !== 'th' && !transports.has(header)) return unknown
  return packet => {
    if (header !== 'th' && packet.protocol !== header) return null
    return field === 'dport' ? packet.dport?.toString() : undefined
  }
}

/** 24 bits behind 8 bytes of UDP and 4 of VXLAN (RFC 7348, 5): `@th,96,24`. */
function isVni({ base, offset, len }: Json): boolean {
  return base === 'th' && offset === 96 && len === 24
}

function headerField(field: unknown): Field {
  switch (field) {
    case 'saddr':
      return ({ src }) => src
    case 'daddr':
      return ({ dst }) => dst
    case 'protocol':
    case 'nexthdr':
      return ({ protocol }) => protocol
    default:
      return unknown
  }
}

/** An absent interface is an empty name. */
function metaField({ key }: Json): Field {
  switch (key) {
    case 'iifname':
    case 'iif':
      return ({ iif }) => nameOf(iif)
    case 'oifname':
    case 'oif':
      return ({ oif }) => nameOf(oif)
    case 'mark':
      return ({ mark }) => String(mark ?? 0)
    case 'l4proto':
      return ({ protocol }) => protocol
    case 'protocol':
      return ({ family }) => ({ ipv4: 'ip', ipv6: 'ip6' })[family]
    case 'nfproto':
      return ({ family }) => family
    default:
      return unknown
  }
}

function nameOf(device: string | undefined): string | undefined {
  return device === someInterface ? undefined : (device ?? '')
}

/** `fib saddr . iif oif`: by the interface that the packet came in by, there is a route to its source. */
function isWayBack({ result, flags }: Json): boolean {
  return result === 'oif' && Array.isArray(flags) && [...flags].sort().join() === 'iif,saddr'
}
