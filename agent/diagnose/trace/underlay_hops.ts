import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { lookUp, printRule, printTableRoute } from '../route_lookup.ts'
import type { Hop } from './hop.ts'
import type { Walk } from './walk.ts'

/** The outer packet's way to the peer's public IP. */
export function underlayRouteHop({ facts, backend, peerIp }: Walk): Hop {
  const step = 'underlay route'
  const { route, rule, outcome } = lookUp(facts, { src: undefined, dst: peerIp, iif: undefined })
  const used = route === undefined ? `no route to ${peerIp}` : printTableRoute(route)
  const remedy = `correct the host's routes: ip route get ${peerIp}`
  const broken = (why: string, mend = remedy): Hop => ({ step, state: 'broken', used, why, remedy: mend })
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

/** Whether the next hop of the underlay answers ARP or NDP; none where the kernel has not asked yet. */
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
