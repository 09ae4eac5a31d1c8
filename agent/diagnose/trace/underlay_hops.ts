import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { subnetOf } from '../../../lease/lease.ts'
import { familyOf } from '../../../lease/net/ip.ts'
import { byRule, lookUp, printTableRoute } from '../route_lookup.ts'
import { neighborProtocol } from '../settings.ts'
import { type Hop, printNeighbor } from './hop.ts'
import { reversePath } from './reverse_path.ts'
import type { Walk } from './walk.ts'

/** The host's route to the peer's public IP, for outer packets. */
export function underlayRouteHop({ facts, backend, peerIp }: Walk): Hop {
  const step = 'underlay route'
  const { route, rule, outcome } = lookUp(facts, { dst: peerIp })
  const used = route === undefined ? `no route to ${peerIp}` : printTableRoute(route)
  const usual = `correct the host's routes: ip route get ${peerIp}`
  const broken = (why: string, remedy = usual): Hop => ({ step, state: 'broken', used, why, remedy })
  if (outcome === 'local')
    return broken(`${peerIp} is an address of this host itself: packets never leave it`)
  if (route === undefined || outcome !== 'unicast')
    return broken(`the kernel answers '${outcome}'${byRule(rule)}`)
  const device = facts.links.find(({ name }) => name === route.dev)
  if (device !== undefined && backend.devices.includes(device.name))
    return broken(`the tunnel's own packets would go into the tunnel again`)
  if (device?.up === false)
    return broken(`${device.name} is set down`, shellQuote('ip', 'link', 'set', device.name, 'up'))
  if (device?.carrier === false)
    return broken(`${device.name} has no carrier`, 'check the cable or the switch port')
  return { step, state: 'ok', used }
}

/** A policy rule before the table `local`, so that the host does not deliver to the tunnel's own address. */
export function ownAddressHop(walk: Walk): Hop | undefined {
  const { facts, peerIp } = walk
  const { own, owner } = ownPublicIp(walk)
  // Behind NAT the public IP is no address of this host.
  if (own === undefined || owner === undefined) return undefined
  const { route, rule, outcome } = lookUp(facts, { src: peerIp, dst: own, iif: owner.name })
  if (outcome === 'local') return undefined
  return {
    step: 'own address',
    state: 'broken',
    used: route === undefined ? `no route to ${own}` : printTableRoute(route),
    why: `${own} is an address of this host, and the kernel answers '${outcome}'${byRule(rule)}: nothing that comes to it is delivered`,
    remedy: `see ip rule show; the first rule has to be 0: from all lookup local (${shellQuote('ip', 'rule', 'add', 'pref', '0', 'table', 'local')})`,
  }
}

/** Reverse path filter of the interface with this node's public IP, which receives the peer's packets. */
export function underlayReversePathHop(walk: Walk): Hop | undefined {
  const { facts, peerIp } = walk
  const { own, owner } = ownPublicIp(walk)
  // Any interface may receive packets for an address of lo.
  if (owner === undefined || owner.name === 'lo') return undefined
  const hop = reversePath('underlay reverse path', facts, { src: own, dst: peerIp }, owner.name)
  if (hop?.state !== 'broken') return undefined
  // On one LAN, an interface answers ARP for the address of another one: either may receive the packets.
  return facts.reversePathDrops > 0 ? hop : { ...hop, state: 'unknown' }
}

/** This node's public IP in the packet's family, and the interface that has it. */
function ownPublicIp({ facts, self, peerIp }: Walk) {
  const own = subnetOf(self, familyOf(peerIp))?.publicIp
  const owner = facts.links.find(({ addresses }) => addresses.some(({ address }) => address === own))
  return { own, owner }
}

/** Whether the underlay's next hop answers ARP or NDP; no hop if the kernel has not asked yet. */
export function underlayNeighborHop({ facts, peerIp }: Walk): Hop | undefined {
  const { route } = lookUp(facts, { dst: peerIp })
  const next = route?.via ?? peerIp
  const is = facts.neighbors.find(({ address, dev }) => address === next && dev === route?.dev)
  if (is === undefined) return undefined
  const step = 'underlay neighbor'
  const used = printNeighbor(is)
  const isDead = is.states.includes('FAILED') || (is.states.includes('INCOMPLETE') && is.mac === undefined)
  if (!isDead) return { step, state: 'ok', used }
  const why = `${next} does not answer ${neighborProtocol[familyOf(next)]} on ${is.dev}`
  const remedy = `check that ${next} is up and on this segment: ping ${next}`
  return { step, state: 'broken', used, why, remedy }
}
