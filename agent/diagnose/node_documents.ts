import { holds, type Lease } from '../../lease/lease.ts'
import type { Ip } from '../../lease/net/ip.ts'
import type { LeaseStore, LeaseTimes } from '../../lease/store.ts'
import { type SubnetMap, subnetMap } from '../map/subnet_map.ts'
import type { Entry } from '../state/entry.ts'
import type { Operation } from '../state/operation.ts'
import { type DiffDocument, diffDocument, driftOf, kernelAgreement } from './diff_document.ts'
import { portHolders } from './doctor/device_checks.ts'
import { examine } from './doctor/doctor.ts'
import type { Finding } from './doctor/finding.ts'
import type { NodeFileFacts } from './doctor/patient.ts'
import type { HostFacts } from './host_facts.ts'
import type { AgentFacts, AgentSilence, NodeView } from './node_view.ts'
import { withProbes } from './probes/doctor_probes.ts'
import { judgeProbe, type ProbeDocument, type ProbeResult, type ProbeTarget } from './probes/probe_result.ts'
import { podPairs, probedPeers, probeTargets } from './probes/probe_targets.ts'
import { type AskTrace, answerTrace, wayBack } from './probes/way_back.ts'
import { type StatusDocument, statusDocument } from './status_document.ts'
import { type Trace, trace, type WayBack, withWayBack } from './trace/trace.ts'
import { EndpointError, podNameOf, refuseElsewhere, traceEndpoints } from './trace/trace_endpoints.ts'

/** Source of the documents' facts: an agent's own state, or the store and the kernel read by the CLI. */
export interface NodeSource {
  view(signal: AbortSignal): Promise<NodeView>
  snapshot(view: NodeView, signal: AbortSignal): Promise<readonly Entry[]>
  /** As LeaseStore.leaseTimes; empty if the store has none, or does not answer. */
  leaseTimes(signal: AbortSignal): Promise<ReadonlyMap<string, LeaseTimes>>
  /** With `neighborsOn`, of all neighbors and FDB entries only the neighbors on that device. */
  hostFacts(signal: AbortSignal, neighborsOn?: string): Promise<HostFacts>
  files(): Promise<NodeFileFacts>
  /** The process that has a UDP port; undefined if none is seen. */
  portHolder(port: number): string | undefined
  probe(target: ProbeTarget, signal: AbortSignal): Promise<ProbeResult>
  readonly ask: AskTrace
  /** As LeaseStore.podAddresses; undefined if the store knows no pods. */
  readonly podAddresses: LeaseStore['podAddresses']
  /** TCP and UDP port on which agents answer probes and questions; 0: ask none. */
  readonly probePort: number
  /** `uname -r`. */
  readonly kernelRelease: string
  /** What the agent of this view says of itself; undefined if none answers. */
  agentAnswer(view: NodeView, signal: AbortSignal): Promise<AgentFacts | AgentSilence | undefined>
}

/** Lease end times cost one call to the store each: with more leases, they are read only on request. */
export const SOME_TIMES = 1_000

/** Requests to one node. The local API and the CLI both answer from here, and so the same. */
export interface NodeDocuments {
  status(signal: AbortSignal): Promise<StatusDocument>
  /** With the leases' end times, unless there are more than `mostTimes`. */
  map(signal: AbortSignal, mostTimes?: number): Promise<SubnetMap>
  diff(signal: AbortSignal): Promise<DiffDocument>
  /** Addresses, or names of nodes or pods. Throws EndpointError, or the store's error. */
  trace(from: string, to: string, signal: AbortSignal): Promise<Trace>
  /** Nodes that can be probed. Throws ProbeTargetError. */
  peers(signal: AbortSignal): Promise<readonly string[]>
  /** Active checks of the ways to one peer, one for each family. Throws ProbeTargetError. */
  probe(peer: string, signal: AbortSignal): Promise<readonly ProbeDocument[]>
  /** All problems of this host, the likeliest cause first; probes a few peers if nothing is broken here. */
  doctor(signal: AbortSignal): Promise<readonly Finding[]>
}

export interface AgentDocuments extends NodeDocuments {
  /** Findings of doctor, without a kernel snapshot: the agent's own loop compares the entries. */
  ownHost(signal: AbortSignal): Promise<readonly Finding[]>
  /** A peer's question: the way from an address of this node to one of a peer. Throws EndpointError. */
  traceForPeer(from: Ip, to: Ip, signal: AbortSignal): Promise<Pick<WayBack, 'hops' | 'unseen'>>
}

export function nodeDocuments(source: NodeSource): AgentDocuments {
  const probe = (peer: string, signal: AbortSignal) => probePeer(source, peer, signal)
  return {
    status: signal => statusOf(source, signal),
    async map(signal, most = SOME_TIMES) {
      const view = await source.view(signal)
      const [actual, times] = await Promise.all([
        source.snapshot(view, signal),
        view.leases.table.size > most ? undefined : source.leaseTimes(signal),
      ])
      return subnetMap({ ...view, times }, view.storeKind, kernelAgreement(view, actual))
    },
    async diff(signal) {
      const view = await source.view(signal)
      const [actual, facts] = await Promise.all([source.snapshot(view, signal), source.hostFacts(signal)])
      return diffDocument(view.desired, actual, facts)
    },
    async trace(from, to, signal) {
      const [view, facts] = await Promise.all([source.view(signal), source.hostFacts(signal)])
      const pods = await podsNamed([from, to], source, signal)
      const [src, dst] = traceEndpoints([from, to], view.leases.table, pods)
      refuseElsewhere(view, src, dst)
      const there = trace({ ...view, leases: view.leases.table, facts }, src, dst)
      return withWayBack(there, await wayBack(view, there, source.probePort, source.ask, signal))
    },
    async traceForPeer(from, to, signal) {
      const view = await source.view(signal)
      refuseStrangers(view, from, to)
      const facts = await source.hostFacts(signal)
      const input = { ...view, leases: view.leases.table, facts, connection: 'answers' } as const
      return answerTrace(trace(input, from, to))
    },
    peers: async signal => probedPeers(await source.view(signal)),
    probe,
    async doctor(signal) {
      const [view, facts] = await Promise.all([source.view(signal), source.hostFacts(signal)])
      const drift = driftOf(view.desired, await source.snapshot(view, signal))
      const found = await findings(source, view, facts, drift, signal)
      const back = (peer: string, until: AbortSignal) => hopsBack(source, view, peer, until)
      return await withProbes(found, view, { probe, back }, signal)
    },
    async ownHost(signal) {
      const view = await source.view(signal)
      return await findings(source, view, await source.hostFacts(signal, view.underlay.name), [], signal)
    },
  }
}

async function statusOf(source: NodeSource, signal: AbortSignal): Promise<StatusDocument> {
  const view = await source.view(signal)
  const [actual, agent] = await Promise.all([source.snapshot(view, signal), source.agentAnswer(view, signal)])
  return statusDocument(view, actual, agent, Date.now())
}

async function probePeer(source: NodeSource, peer: string, signal: AbortSignal) {
  const targets = probeTargets(await source.view(signal), peer, source.probePort)
  return await Promise.all(
    targets.map(async target => {
      const result = await source.probe(target, signal)
      return { ...result, finding: judgeProbe(result, target) ?? null }
    }),
  )
}

/** Hops of the way from a peer's pods to this host's, in each family. */
async function hopsBack({ probePort, ask }: NodeSource, view: NodeView, peer: string, signal: AbortSignal) {
  const back = ([from, to]: readonly [Ip, Ip]) =>
    wayBack(view, { from, to, peer, broken: null }, probePort, ask, signal)
  const ways = await Promise.all(podPairs(view, peer).map(back))
  return ways.flatMap(way => way?.hops ?? [])
}

async function findings(
  source: NodeSource,
  view: NodeView,
  facts: HostFacts,
  drift: readonly Operation[],
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const files = await source.files()
  const { kernelRelease } = source
  const holders = portHolders(view, facts, source.portHolder)
  const agent = await source.agentAnswer(view, signal)
  return examine({ view, facts, drift, files, portHolders: holders, kernelRelease, agent })
}

/** The addresses of pods among the operands. Throws EndpointError, or the store's error. */
async function podsNamed(operands: readonly string[], { podAddresses }: NodeSource, signal: AbortSignal) {
  const found = new Map<string, readonly Ip[]>()
  for (const word of operands) {
    const pod = podNameOf(word)
    if (pod === undefined || podAddresses === undefined) continue
    const addresses = await podAddresses(...pod, signal)
    if (addresses.length === 0) throw new EndpointError(`Pod ${word} has no address yet`)
    found.set(word, addresses)
  }
  return found
}

/** A peer may ask only for the ways between this node and its peers. */
function refuseStrangers({ self, leases, refused }: NodeView, from: Ip, to: Ip): void {
  const isPeer = (lease: Lease) => lease.node !== self?.node && !refused.has(lease.node)
  if (self === undefined || !holds(self, from)) throw new EndpointError(`${from} is no address of this node`)
  if (![...leases.table.values()].some(lease => isPeer(lease) && holds(lease, to)))
    throw new EndpointError(`${to} is no address of a peer`)
}
