import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { familyOf, type Ip } from '../../../lease/net/ip.ts'
import type { HostFacts } from '../host_facts.ts'
import { bridgeTroubles } from '../pod_bridge.ts'
import { byRule, lookUp, printTableRoute } from '../route_lookup.ts'
import { deviceForwarding, forwardingSetting, neighborProtocol } from '../settings.ts'
import type { Hop } from './hop.ts'
import { wantedRoute } from './overlay_hops.ts'
import { reversePath } from './reverse_path.ts'
import type { Walk } from './walk.ts'

/** How the host reaches one of its own pods: over its bridge or veth. */
export function podRouteHop({ facts, self }: Walk, pod: Ip, side: 'source' | 'destination'): Hop {
  const step = side === 'source' ? 'source pod' : 'pod'
  const { route, rule, outcome } = lookUp(facts, { dst: pod })
  if (outcome === 'local') return { step, state: 'ok', used: `${pod} is an address of this host` }
  const used = route === undefined ? `no route to ${pod}` : printTableRoute(route)
  const broken = (why: string, remedy: string): Hop => ({ step, state: 'broken', used, why, remedy })
  const prefixes = self.subnets.map(({ prefix }) => prefix)
  const troubles = bridgeTroubles(facts, prefixes)
  const remedy = `see which program set it: ip route get ${pod}; the CNI plugin's bridge should hold this subnet`
  const cut = troubles.find(({ finding }) => finding.severity === 'broken')
  if (cut !== undefined && route?.dev !== cut.bridge) return broken(cut.finding.what, cut.finding.remedy)
  if (outcome !== 'unicast' || route === undefined)
    return broken(`the kernel answers '${outcome}'${byRule(rule)}`, remedy)
  const device = facts.links.find(({ name }) => name === route.dev)
  if (device === undefined || !device.up)
    return broken(`${route.dev} is down`, shellQuote('ip', 'link', 'set', route.dev ?? '', 'up'))
  if (device.vxlan !== undefined)
    return broken(`${pod} is no pod of this host: the route leads into the tunnel`, remedy)
  const trouble = troubles.find(({ bridge }) => bridge === device.name)?.finding
  if (trouble?.severity === 'broken') return broken(trouble.what, trouble.remedy)
  const silent = silentPod(facts, pod, device.name, step)
  if (silent !== undefined || trouble === undefined) return silent ?? { step, state: 'ok', used }
  return { step, state: 'unknown', used, why: trouble.what, remedy: trouble.remedy }
}

/** The kernel asked for the pod's MAC, and nothing answered. */
function silentPod({ neighbors }: HostFacts, pod: Ip, dev: string, step: string): Hop | undefined {
  const is = neighbors.find(one => one.address === pod && one.dev === dev)
  if (is === undefined || !is.states.includes('FAILED')) return undefined
  return {
    step,
    state: 'broken',
    used: `${pod} dev ${dev} ${is.states.join(' ')}`,
    why: `${pod} does not answer ${neighborProtocol[familyOf(pod)]} on ${dev}: there is no such pod, or its port is cut off`,
    remedy: `see whether the pod runs, and its port: bridge link show; ip neigh show ${pod}`,
  }
}

/** Whether the host forwards packets, also those that it receives from the pod's device and the tunnel. */
export function forwardingHop(walk: Walk): Hop {
  const { facts, from, to } = walk
  const family = familyOf(to)
  const pods = lookUp(facts, { dst: from }).route?.dev
  const devices = [pods, wantedRoute(walk)?.dev].flatMap(dev => (dev === undefined ? [] : [dev]))
  const names = [forwardingSetting[family], ...devices.flatMap(dev => deviceForwarding(family, dev) ?? [])]
  const name = names.find(one => facts.sysctls[one] === '0') ?? forwardingSetting[family]
  const value = facts.sysctls[name]
  const [step, used] = ['forwarding', `${name} = ${value ?? '?'}`]
  if (value !== '0') return { step, state: value === undefined ? 'unknown' : 'ok', used }
  const why =
    name === forwardingSetting[family]
      ? 'the host does not pass packets on between its interfaces'
      : 'the host does not pass on what comes in by that interface'
  return { step, state: 'broken', used, why, remedy: shellQuote('sysctl', '-w', `${name}=1`) }
}

/** A wrong route for answers: pods are reached without a gateway. Undefined if the route is right. */
export function answerRouteHop({ facts, from, fromHost }: Walk): Hop | undefined {
  const { route, rule } = lookUp(facts, { dst: from })
  if (fromHost || route?.via === undefined) return undefined
  const by = rule === undefined ? '' : `,${byRule(rule)}`
  return {
    step: 'route, answer',
    state: 'broken',
    used: printTableRoute(route),
    why: `answers to ${from} leave this host by a gateway${by}`,
    remedy: `see which program set it: ip route get ${from}; the route to this node's subnet has to lead to its pods' bridge`,
  }
}

/** Reverse path filter of the tunnel's device, which receives the peer's answers. */
export function reversePathHop({ facts, wanted, to, from }: Walk): Hop | undefined {
  const route = wanted.find(entry => entry.kind === 'route')
  if (route?.type !== 'unicast') return undefined
  return reversePath('reverse path', facts, { src: from, dst: to }, route.dev)
}
