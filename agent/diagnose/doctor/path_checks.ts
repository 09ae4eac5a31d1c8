import { type Lease, subnetOf } from '../../../lease/lease.ts'
import { familyOf, type Ip } from '../../../lease/net/ip.ts'
import { addressAt, contains, networkAddress, type Prefix } from '../../../lease/net/prefix.ts'
import { hasPods } from '../pod_bridge.ts'
import { lookUp } from '../route_lookup.ts'
import type { Hop } from '../trace/hop.ts'
import { trace } from '../trace/trace.ts'
import type { Finding, Found } from './finding.ts'
import type { Patient } from './patient.ts'

/** Peers walked to, those with differing entries first: with thousands of peers one walk costs some ms. */
const WALKS = 20

/** Traces to peers, from the host and from a pod; where none breaks, kernel entries that differ. */
export function pathChecks(patient: Patient): Found {
  const { view } = patient
  if (view.self === undefined) return []
  const broken = new Map<string, { readonly hop: Hop; readonly ways: string[] }>()
  for (const { from, to, name } of walksOf(patient, view.self)) {
    const input = { ...view, leases: view.leases.table, facts: patient.facts, connection: 'both' } as const
    const { broken: hop } = trace(input, from, to)
    if (hop === null || hop.step === 'lease') continue
    const known = broken.get(hop.step)
    if (known === undefined) broken.set(hop.step, { hop, ways: [name] })
    else known.ways.push(name)
  }
  const findings = Array.from(broken.values(), ({ hop, ways }) => findingOf(hop, ways))
  return findings.length > 0 ? findings : unmetDrift(patient)
}

function walksOf(patient: Patient, self: Lease) {
  return peersToWalk(patient, self).flatMap(peer =>
    peer.subnets.flatMap(({ prefix }) => {
      const own = subnetOf(self, familyOf(prefix))
      if (own === undefined) return []
      const pod = podIn(own.prefix, patient)
      const to = addressAt(prefix, 2)
      const from = hostAddress(own.prefix, patient)
      const host = from === undefined ? [] : [{ from, to, name: `host to ${peer.node}` }]
      return pod === undefined ? host : [...host, { from: pod, to, name: `pods to ${peer.node}` }]
    }),
  )
}

/** Source of this host's own packets: the tunnel's address; without a tunnel, the host's at the underlay. */
function hostAddress(subnet: Prefix, { view, facts }: Patient): Ip | undefined {
  if (view.backend.devices.length > 0) return networkAddress(subnet)
  const ip = view.underlay.localIps.find(one => familyOf(one) === familyOf(subnet))
  return facts.links.some(({ addresses }) => addresses.some(({ address }) => address === ip)) ? ip : undefined
}

/** Without refused peers, which have no route. */
function peersToWalk({ view, drift }: Patient, self: Lease): readonly Lease[] {
  const different = new Set(drift.flatMap(({ entry }) => Object.values(entry)))
  const differs = (lease: Lease) =>
    lease.subnets.some(({ prefix, publicIp }) => different.has(prefix) || different.has(publicIp))
  const peers = [...view.leases.table.values()].filter(
    ({ node }) => node !== self.node && !view.refused.has(node),
  )
  return [...new Set([...peers.filter(differs), ...peers])].slice(0, WALKS)
}

/** Most pod addresses tried, in search of one whose neighbor entry is not FAILED. */
const PODS = 20

/** Address of a pod of this node; undefined if nothing uses the subnet yet, as before the first pod. */
function podIn(subnet: Prefix, { facts }: Patient): Ip | undefined {
  const silent = new Set(facts.neighbors.flatMap(one => (one.states.includes('FAILED') ? one.address : [])))
  const pods = Array.from({ length: PODS }, (_, i) => addressAt(subnet, 2 + i))
  const pod = pods.find(one => !silent.has(one)) ?? addressAt(subnet, 2)
  const { route, outcome } = lookUp(facts, { dst: pod })
  const isRouted = outcome === 'unicast' && route !== undefined && contains(subnet, route.dst)
  return isRouted || hasPods(facts, subnet) ? pod : undefined
}

/** Named as the check of the same thing, so that doctor reports it once. */
function findingOf(hop: Hop, ways: readonly string[]): Finding {
  const more = ways.length > 1 ? ` and ${ways.length - 1} more` : ''
  return {
    check: hop.step === 'source pod' ? 'pod bridge' : hop.step,
    severity: 'broken',
    what: `the way from ${ways[0]}${more} breaks at: ${hop.step}`,
    evidence: hop.used,
    cause: hop.why ?? 'the entry is missing',
    remedy: hop.remedy ?? 'see twill trace',
  }
}

function unmetDrift({ drift }: Patient): Found {
  if (drift.length === 0) return []
  return {
    check: 'drift',
    severity: 'risk',
    what: `${drift.length} entries of the kernel differ from what the leases ask for`,
    evidence: 'twill diff lists them',
    cause: 'another program changed them, or no agent runs',
    remedy: 'start twilld; if it runs, twill status says why it does not repair them',
  }
}
