import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { familyOf, type Ip } from '../../../lease/net/ip.ts'
import { lookUp, printRule, printTableRoute } from '../route_lookup.ts'
import type { Hop } from './hop.ts'
import type { Walk } from './walk.ts'

/** How the host reaches a pod of its own: over its bridge or veth. */
export function podRouteHop({ facts }: Walk, pod: Ip, side: 'source' | 'destination'): Hop {
  const step = side === 'source' ? 'source pod' : 'pod'
  const { route, rule, outcome } = lookUp(facts, { src: undefined, dst: pod, iif: undefined })
  if (outcome === 'local') return { step, state: 'ok', used: `${pod} is an address of this host` }
  const device = facts.links.find(({ name }) => name === route?.dev)
  const used = route === undefined ? `no route to ${pod}` : printTableRoute(route)
  const remedy = `see which program set it: ip route get ${pod}; the CNI plugin's bridge should hold this subnet`
  if (outcome !== 'unicast' || route === undefined) {
    const why = `the kernel answers '${outcome}'${rule === undefined ? '' : ` by rule ${printRule(rule)}`}`
    return { step, state: 'broken', used, why, remedy }
  }
  if (device === undefined || !device.up)
    return {
      step,
      state: 'broken',
      used,
      why: `${route.dev} is down`,
      remedy: shellQuote('ip', 'link', 'set', route.dev ?? '', 'up'),
    }
  if (device.vxlan !== undefined)
    return {
      step,
      state: 'broken',
      used,
      why: `${pod} is no pod of this host: the route leads into the tunnel`,
      remedy,
    }
  return { step, state: 'ok', used }
}

/** Whether the host passes packets on at all. */
export function forwardingHop({ facts, to }: Walk): Hop {
  const name = familyOf(to) === 'ipv6' ? 'net.ipv6.conf.all.forwarding' : 'net.ipv4.ip_forward'
  const value = facts.sysctls[name]
  const used = `${name} = ${value ?? '?'}`
  if (value === undefined) return { step: 'forwarding', state: 'unknown', used }
  if (value !== '0') return { step: 'forwarding', state: 'ok', used }
  const why = 'the host does not pass packets on between its interfaces'
  return { step: 'forwarding', state: 'broken', used, why, remedy: shellQuote('sysctl', '-w', `${name}=1`) }
}

/** Reverse path filter of the device that answers come in by (ip-sysctl: the larger of `all` and the device counts). */
export function reversePathHop({ facts, wanted, to, from }: Walk): Hop | undefined {
  const route = wanted.find(entry => entry.kind === 'route')
  if (route?.type !== 'unicast' || familyOf(to) === 'ipv6') return undefined
  const names = ['all', route.dev].map(device => `net.ipv4.conf.${device}.rp_filter`)
  const values = names.map(name => Number(facts.sysctls[name] ?? 0))
  const [strictest] = names.filter((_, i) => values[i] === Math.max(...values))
  const used = `${strictest} = ${Math.max(...values)}`
  if (Math.max(...values) !== 1) return { step: 'reverse path', state: 'ok', used }
  const back = lookUp(facts, { src: from, dst: to, iif: undefined })
  if (back.route?.dev === route.dev) return { step: 'reverse path', state: 'ok', used }
  const why = `answers of ${to} come in by ${route.dev}, but the host would send to it by ${back.route?.dev}: strict filtering drops them`
  return {
    step: 'reverse path',
    state: 'broken',
    used,
    why,
    remedy: shellQuote('sysctl', '-w', `${names[1]}=2`, `${names[0]}=0`),
  }
}
