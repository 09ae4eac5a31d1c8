import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { familyOf } from '../../../lease/net/ip.ts'
import { lookUp, printRule, printTableRoute } from '../route_lookup.ts'
import type { Hop } from './hop.ts'
import { reversePath } from './reverse_path.ts'
import type { Walk } from './walk.ts'

/** The host's route to the peer's public IP, for outer packets. */
export function underlayRouteHop({ facts, backend, peerIp }: Walk): Hop {
  const step = 'underlay route'
  const { route, rule, outcome } = lookUp(facts, { src: undefined, dst: peerIp, iif: undefined })
  const used = route === undefined ? `no route to ${peerIp}` : printTableRoute(route)
  const remedy = `correct the host's routes: ip route get ${peerIp}`
  const broken = (why: string, repair = remedy): Hop => ({ step, state: 'broken', used, why, remedy: repair })
  if (outcome === 'local')
    return broken(`${peerIp} is an address of this host itself: packets never leave it`)
  if (route === undefined || outcome !== 'unicast')
    return broken(`the kernel answers '${outcome}'${rule === undefined ? '' : ` by rule ${printRule(rule)}`}`)
  const device = facts.links.find(({ name }) => name === route.dev)
  if (device !== undefined && backend.devices.includes(device.name))
    return broken(`the tunnel's own packets would go into the tunnel again`)
  if (device?.up === false)
    return broken(`${device.name} is set down`, shellQuote('ip', 'link', 'set', device.name, 'up'))
  if (device?.carrier === false)
    return broken(`${device.name} has no carrier`, 'check the cable or the switch port')
  return { step, state: 'ok', used }
}

/**
 * A policy rule that takes precedence over the table `local`: the host would not deliver packets to the
 * tunnel's own address. Undefined if the address is delivered.
 */
export function ownAddressHop({ facts, self, peerIp }: Walk): Hop | undefined {
  const own = self.subnets.find(({ publicIp }) => familyOf(publicIp) === familyOf(peerIp))?.publicIp
  const owner = facts.links.find(({ addresses }) => addresses.some(({ address }) => address === own))
  // Behind NAT the public IP is no address of this host.
  if (own === undefined || owner === undefined) return undefined
  const { route, rule, outcome } = lookUp(facts, { src: peerIp, dst: own, iif: owner.name })
  if (outcome === 'local') return undefined
  return {
    step: 'own address',
    state: 'broken',
    used: route === undefined ? `no route to ${own}` : printTableRoute(route),
    why: `${own} is an address of this host, and the kernel answers '${outcome}'${rule === undefined ? '' : ` by rule ${printRule(rule)}`}: nothing that comes to it is delivered`,
    remedy: `see ip rule show; the first rule has to be 0: from all lookup local (${shellQuote('ip', 'rule', 'add', 'pref', '0', 'table', 'local')})`,
  }
}

/** Reverse path filter of the interface with this node's public IP, which receives the peer's packets. */
export function underlayReversePathHop({ facts, self, peerIp }: Walk): Hop | undefined {
  const publicIp = self.subnets.find(subnet => familyOf(subnet.publicIp) === familyOf(peerIp))?.publicIp
  const owner = facts.links.find(({ addresses }) => addresses.some(({ address }) => address === publicIp))
  // Any interface may receive packets for an address of lo.
  if (owner === undefined || owner.name === 'lo') return undefined
  const flow = { src: publicIp, dst: peerIp, iif: undefined }
  const hop = reversePath('underlay reverse path', facts, flow, owner.name)
  if (hop?.state !== 'broken') return undefined
  // On one LAN, an interface answers ARP for the address of another one: either may receive the packets.
  return facts.reversePathDrops > 0 ? hop : { ...hop, state: 'unknown' }
}

/** Whether the underlay's next hop answers ARP or NDP; no hop if the kernel has not asked yet. */
export function underlayNeighborHop({ facts, peerIp }: Walk): Hop[] {
  const { route } = lookUp(facts, { src: undefined, dst: peerIp, iif: undefined })
  const next = route?.via ?? peerIp
  const is = facts.neighbors.find(({ address, dev }) => address === next && dev === route?.dev)
  if (is === undefined) return []
  const step = 'underlay neighbor'
  const used = `${is.address} dev ${is.dev} lladdr ${is.mac ?? '-'} ${is.states.join(' ')}`
  const isDead = is.states.includes('FAILED') || (is.states.includes('INCOMPLETE') && is.mac === undefined)
  if (!isDead) return [{ step, state: 'ok', used }]
  const why = `${next} does not answer ${next.includes(':') ? 'NDP' : 'ARP'} on ${is.dev}`
  return [
    {
      step,
      state: 'broken',
      used,
      why,
      remedy: `check that ${next} is up and on this segment: ping ${next}`,
    },
  ]
}
