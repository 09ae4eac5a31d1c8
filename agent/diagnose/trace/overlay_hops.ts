import { familyOf } from '../../../lease/net/ip.ts'
import type { Entry, UnicastRoute } from '../../state/entry.ts'
import { printEntry } from '../../state/print.ts'
import type { HostFacts } from '../host_facts.ts'
import { byRule, lookUp, printTableRoute, type RouteAnswer } from '../route_lookup.ts'
import { type Hop, printNeighbor } from './hop.ts'
import type { Walk } from './walk.ts'

const askAgent = 'a running twilld repairs it: `twill status` says why it does not'

/**
 * Compares the host's route to the peer's subnet with the agent's. `mark`: the packet's, from the firewall.
 */
export function overlayRouteHop(walk: Walk, mark: number): Hop {
  const { facts, from, to, fromHost } = walk
  const step = 'route'
  const want = wantedRoute(walk)
  const iif = fromHost ? undefined : lookUp(facts, { dst: from }).route?.dev
  const answer = lookUp(facts, { src: from, dst: to, iif, mark })
  const { route } = answer
  const used = route === undefined ? `no route to ${to}` : printTableRoute(route)
  if (want === undefined) return { step, state: 'unknown', used }
  const device = facts.links.find(({ name }) => name === route?.dev)
  const isOurs =
    answer.outcome === 'unicast' &&
    route?.dst === want.dst &&
    route.via === want.via &&
    route.dev === want.dev
  if (isOurs && device?.up !== false) return { step, state: 'ok', used }
  const ours = facts.routes.some(
    ({ dst, table, dev }) => dst === want.dst && table === 'main' && dev === want.dev,
  )
  const why = ours ? shadowed(answer, facts) : `the route is missing: ${printEntry(want)}`
  return { step, state: 'broken', used, why, remedy: ours ? findOwner(answer, to) : askAgent }
}

function shadowed({ route, rule, outcome }: RouteAnswer, { rules }: HostFacts): string {
  if (!rules.some(({ table }) => table === 'main'))
    return "the agent's route stands, and no policy rule leads to the table main: ip rule add pref 32766 table main"
  const by = rule?.table === 'main' ? '' : byRule(rule)
  if (route === undefined) return `the kernel answers '${outcome}'${by} before it looks at the agent's route`
  return `the agent's route stands, but this one is preferred${by}`
}

function findOwner({ route, rule }: RouteAnswer, to: string): string {
  if (rule !== undefined && rule.table !== 'main')
    return `find the program that added the rule: ip rule show; ip route show table ${rule.table ?? 'main'}`
  return `find the program that added it (proto ${route?.protocol ?? '?'}): ip route get ${to}`
}

/** MAC of the gateway, which is the peer subnet's network address. */
export function neighborHop(walk: Walk): Hop | undefined {
  const want = entryOf(walk, 'neighbor')
  if (want === undefined || walk.facts.fdb === undefined) return undefined
  const step = 'neighbor'
  const is = walk.facts.neighbors.find(({ address, dev }) => address === want.address && dev === want.dev)
  if (is === undefined)
    return { step, state: 'broken', used: `none for ${want.address} dev ${want.dev}`, remedy: askAgent }
  const used = printNeighbor(is)
  if (is.mac === want.mac) return { step, state: 'ok', used }
  const why = `the peer's VTEP MAC is ${want.mac}: packets for another MAC are dropped there`
  return { step, state: 'broken', used, why, remedy: askAgent }
}

/** Underlay address to which the device sends packets for the peer's VTEP MAC. */
export function fdbHop(walk: Walk): Hop | undefined {
  const want = entryOf(walk, 'fdb')
  const { fdb } = walk.facts
  if (want === undefined || fdb === undefined) return undefined
  const step = 'FDB'
  const all = fdb.filter(({ mac, dev }) => mac === want.mac && dev === want.dev)
  const used = all.map(({ mac, dev, dst }) => `${mac} dev ${dev} dst ${dst}`).join('; ')
  if (all.length === 0)
    return { step, state: 'broken', used: `none for ${want.mac} dev ${want.dev}`, remedy: askAgent }
  const wrong = all.find(({ dst }) => dst !== want.dst)
  if (wrong === undefined) return { step, state: 'ok', used }
  const why = `the peer is at ${want.dst}, packets go to ${wrong.dst}`
  return { step, state: 'broken', used, why, remedy: askAgent }
}

export function wantedRoute(walk: Walk): UnicastRoute | undefined {
  const route = entryOf(walk, 'route')
  return route?.type === 'unicast' ? route : undefined
}

type PeerEntry = Extract<Entry, { kind: 'fdb' | 'neighbor' | 'route' }>

/** The peer's entry of that kind in the packet's family. */
export function entryOf<K extends PeerEntry['kind']>(
  { wanted, to }: Walk,
  kind: K,
): Extract<PeerEntry, { kind: K }> | undefined {
  const isAsked = (entry: Entry): entry is Extract<PeerEntry, { kind: K }> => entry.kind === kind
  const all = wanted.filter(isAsked)
  return all.find(entry => familyOf('dst' in entry ? entry.dst : entry.address) === familyOf(to))
}
