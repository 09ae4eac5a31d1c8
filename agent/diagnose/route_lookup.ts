import { familyBits, familyOf, type Ip } from '../../lease/net/ip.ts'
import { contains, type Prefix, prefixLength, prefixOf } from '../../lease/net/prefix.ts'
import type { HostFacts, RuleFacts, TableRoute } from './host_facts.ts'

/** A packet to look up a route for. */
export interface Flow {
  readonly src?: Ip | undefined
  readonly dst: Ip
  /** Input interface; undefined for packets from the host itself. */
  readonly iif?: string | undefined
  /** The mark that the firewall sets before the look-up; 0 if undefined. */
  readonly mark?: number | undefined
}

/** The kernel's decision: `rule` is undefined only if no rule had an answer. */
export interface RouteAnswer {
  readonly rule: RuleFacts | undefined
  readonly route: TableRoute | undefined
  /** `unicast`, `local`, `blackhole`, `unreachable`, `prohibit`; `none`: no rule has a route. */
  readonly outcome: string
}

/** Finds the route as the kernel does: rules by priority, then longest prefix, lowest metric (ip-rule(8)). */
export function lookUp(facts: HostFacts, flow: Flow): RouteAnswer {
  const family = familyOf(flow.dst)
  for (const rule of facts.rules) {
    if (rule.family !== family || matches(rule, flow) === rule.inverted) continue
    if (rule.action === 'goto' || rule.action === 'nop') continue
    if (rule.action !== undefined && rule.action !== 'lookup')
      return { rule, route: undefined, outcome: rule.action }
    const route = longest(facts.routes, rule.table, flow.dst)
    if (route === undefined || route.type === 'throw') continue
    if (rule.suppressLength !== undefined && prefixLength(route.dst) <= rule.suppressLength) continue
    return { rule, route, outcome: route.type }
  }
  return { rule: undefined, route: undefined, outcome: 'none' }
}

/** `default via 192.168.0.1 dev eth0 table 52`, as ip prints it. */
export function printTableRoute(route: TableRoute): string {
  const words = [route.type === 'unicast' ? `${route.dst}` : `${route.type} ${route.dst}`]
  if (route.via !== undefined) words.push(`via ${route.via}`)
  if (route.dev !== undefined) words.push(`dev ${route.dev}`)
  if (route.table !== 'main') words.push(`table ${route.table}`)
  if (route.protocol !== 'boot') words.push(`proto ${route.protocol}`)
  if (route.metric !== 0) words.push(`metric ${route.metric}`)
  return [...words, ...route.flags].join(' ')
}

/** The rule that decided, as the end of a sentence. */
export function byRule(rule: RuleFacts | undefined): string {
  return rule === undefined ? '' : ` by rule ${printRule(rule)}`
}

function printRule(rule: RuleFacts): string {
  const words = [`${rule.priority}:`, ...(rule.inverted ? ['not'] : []), `from ${rule.src ?? 'all'}`]
  if (rule.dst !== undefined) words.push(`to ${rule.dst}`)
  if (rule.iif !== undefined) words.push(`iif ${rule.iif}`)
  if (rule.mark !== undefined) words.push(`fwmark 0x${rule.mark.value.toString(16)}`)
  words.push(rule.table === undefined ? (rule.action ?? '') : `lookup ${rule.table}`)
  return words.join(' ')
}

/** A rule with a selector that cannot be judged here (user, protocol) does not match: such rules are rare. */
function matches({ src, dst, iif, oif, mark, others }: RuleFacts, flow: Flow): boolean {
  if (others.length > 0 || oif !== undefined) return false
  if (src !== undefined && (flow.src === undefined || !contains(src, flow.src))) return false
  if (dst !== undefined && !contains(dst, flow.dst)) return false
  if (iif !== undefined && iif !== (flow.iif ?? 'lo')) return false
  return mark === undefined || ((flow.mark ?? 0) & mark.mask) >>> 0 === mark.value
}

function longest(routes: readonly TableRoute[], table: string | undefined, dst: Ip): TableRoute | undefined {
  const best = tablesOf(routes).get(table ?? '')
  for (let length: number = familyBits(familyOf(dst)); best !== undefined && length >= 0; length--) {
    const route = best.get(prefixOf(dst, length))
    if (route !== undefined) return route
  }
  return undefined
}

/** The best route to each destination, by table. */
type Tables = ReadonlyMap<string, ReadonlyMap<Prefix, TableRoute>>

/** Cached: a host has thousands of routes, and dozens of packets are looked up in the same facts. */
const tables = new WeakMap<readonly TableRoute[], Tables>()

function tablesOf(routes: readonly TableRoute[]): Tables {
  const known = tables.get(routes)
  if (known !== undefined) return known
  const made = new Map<string, Map<Prefix, TableRoute>>()
  tables.set(routes, made)
  for (const route of routes) {
    const table = made.get(route.table) ?? new Map<Prefix, TableRoute>()
    made.set(route.table, table)
    const other = table.get(route.dst)
    const isBetter = other === undefined || route.metric < other.metric
    if (isBetter && !route.flags.includes('dead')) table.set(route.dst, route)
  }
  return made
}
