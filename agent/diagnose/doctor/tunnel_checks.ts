import { familyOf } from '../../../lease/net/ip.ts'
import { addressAt } from '../../../lease/net/prefix.ts'
import type { Link } from '../../state/entry.ts'
import { tunnelFilter, tunnelHops, verdictChains } from '../trace/firewall_hops.ts'
import type { Hop } from '../trace/hop.ts'
import type { Finding } from './finding.ts'
import type { Patient } from './patient.ts'

/**
 * Whether the firewall lets the tunnel's packets pass between this host and a neighbor of its network.
 * Checked only while there are no peers: the walks to peers judge it with their addresses. Not checked where
 * a rule accepts the port: that rule may name the addresses of later peers.
 */
export function tunnelChecks({ view, facts }: Patient): readonly Finding[] {
  const { leases, self, desired } = view
  if ([...leases.table.keys()].some(node => node !== self?.node)) return []
  // The tunnel filter holds no peer yet: the agent adds each one that it programs.
  const chains = verdictChains({ facts }).filter(({ name }) => !tunnelFilter.test(name))
  const devices = [...desired.values()].filter((entry): entry is Link => entry.kind === 'link')
  return devices.flatMap(({ vxlan }) => {
    if (acceptsPort(chains, vxlan.port)) return []
    const hop = hopsOf(vxlan, { view, facts }, chains).find(({ state }) => state === 'broken')
    return hop === undefined ? [] : [closed(hop, vxlan)]
  })
}

function acceptsPort(chains: ReturnType<typeof verdictChains>, port: number): boolean {
  // A concatenation with a named set may hold the port: `ip saddr . udp dport @nodes`.
  const names = new RegExp(`\\b${port}\\b| \\. (udp|th) dport (vmap )?@|\\b(udp|th) dport \\. [^,@]+@`)
  return chains.some(({ chains }) =>
    [...chains.values()]
      .flat()
      .some(({ text, then }) => ['accept', 'map'].includes(then.verdict) && names.test(text)),
  )
}

function hopsOf(
  vxlan: Link['vxlan'],
  { view, facts }: Pick<Patient, 'view' | 'facts'>,
  chains: ReturnType<typeof verdictChains>,
): readonly Hop[] {
  const prefix = view.underlay.onLink.find(one => familyOf(one) === familyOf(vxlan.local))
  const peer = prefix && [1, 2].map(n => addressAt(prefix, n)).find(ip => ip !== vxlan.local)
  return peer === undefined ? [] : tunnelHops(facts, chains, { ...vxlan, peer, dev: vxlan.underlay })
}

function closed({ step, used, remedy = '' }: Hop, { port }: Link['vxlan']): Finding {
  return {
    check: step,
    severity: 'risk',
    what: `the firewall of this host drops the tunnel's packets, UDP port ${port}: no peer will be reached`,
    evidence: used,
    cause: 'a rule, or the policy of a chain; no earlier rule accepts the tunnel',
    remedy,
  }
}
