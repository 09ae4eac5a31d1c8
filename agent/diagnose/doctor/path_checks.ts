import type { Lease } from '../../../lease/lease.ts'
import { familyOf, type Ip } from '../../../lease/net/ip.ts'
import { addressAt, contains, networkAddress, type Prefix } from '../../../lease/net/prefix.ts'
import { driftOf } from '../diff_document.ts'
import { lookUp } from '../route_lookup.ts'
import type { Hop } from '../trace/hop.ts'
import { trace } from '../trace/trace.ts'
import type { Finding } from './finding.ts'
import type { Patient } from './patient.ts'

/** So many peers are walked to, those first whose entries differ: one walk costs some ms where there are thousands. */
const WALKS = 20

/** Walks to peers, from the host and from a pod, and what differs in the kernel where no walk met it. */
export function pathChecks(patient: Patient): readonly Finding[] {
  const { view } = patient
  if (view.self === undefined) return []
  const broken = new Map<string, { readonly hop: Hop; readonly ways: string[] }>()
  for (const { from, to, name } of walksOf(patient, view.self)) {
    const { broken: hop } = trace({ ...view, leases: view.leases.table, facts: patient.facts }, from, to)
    if (hop === null || hop.step === 'lease') continue
    const known = broken.get(hop.step)
    if (known === undefined) broken.set(hop.step, { hop, ways: [name] })
    else known.ways.push(name)
  }
  const findings = Array.from(broken.values(), ({ hop, ways }) => findingOf(hop, ways))
  return findings.length > 0 ? findings : unmetDrift(patient)
}

interface WalkPlan {
  readonly from: Ip
  readonly to: Ip
  readonly name: string
}

function walksOf(patient: Patient, self: Lease): readonly WalkPlan[] {
  return peersToWalk(patient, self).flatMap(peer =>
    peer.subnets.flatMap(({ prefix }) => {
      const own = self.subnets.find(subnet => familyOf(subnet.prefix) === familyOf(prefix))
      if (own === undefined) return []
      const pod = podIn(own.prefix, patient)
      const to = addressAt(prefix, 2)
      const host = { from: networkAddress(own.prefix), to, name: `host to ${peer.node}` }
      return pod === undefined ? [host] : [host, { from: pod, to, name: `pods to ${peer.node}` }]
    }),
  )
}

/** Peers that are refused are no way to walk. */
function peersToWalk({ view, actual }: Patient, self: Lease): readonly Lease[] {
  const prints = driftOf(view.desired, actual).map(({ entry }) => JSON.stringify(entry))
  const differs = (lease: Lease) =>
    lease.subnets.some(({ prefix, publicIp }) =>
      prints.some(text => text.includes(`"${prefix}"`) || text.includes(`"${publicIp}"`)),
    )
  const peers = [...view.leases.table.values()].filter(
    ({ node }) => node !== self.node && !view.refused.has(node),
  )
  const few =
    peers.length <= WALKS ? peers : peers.toSorted((a, b) => Number(differs(b)) - Number(differs(a)))
  return few.slice(0, WALKS)
}

/** An address of a pod of this node; undefined where nothing holds the subnet yet, as no pod was started. */
function podIn(subnet: Prefix, { facts }: Patient): Ip | undefined {
  const pod = addressAt(subnet, 2)
  const { route, outcome } = lookUp(facts, { src: undefined, dst: pod, iif: undefined })
  return outcome === 'unicast' && route !== undefined && contains(subnet, route.dst) ? pod : undefined
}

function findingOf(hop: Hop, ways: readonly string[]): Finding {
  const more = ways.length > 1 ? ` and ${ways.length - 1} more` : ''
  return {
    check: hop.step,
    severity: 'broken',
    what: `the way from ${ways[0]}${more} breaks at: ${hop.step}`,
    evidence: hop.used,
    cause: hop.why ?? 'the entry is missing',
    remedy: hop.remedy ?? 'see twill trace',
  }
}

function unmetDrift({ view, actual }: Patient): readonly Finding[] {
  const drift = driftOf(view.desired, actual)
  if (drift.length === 0) return []
  return [
    {
      check: 'drift',
      severity: 'risk',
      what: `${drift.length} entries of the kernel are not as the leases ask for`,
      evidence: 'twill diff lists them',
      cause: 'another program changed them, or no agent runs that follows the leases',
      remedy: 'start twilld; where it runs, twill status says what keeps it',
    },
  ]
}
