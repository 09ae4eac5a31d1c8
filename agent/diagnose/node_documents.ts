import type { Entry } from '../state/entry.ts'
import { type DiffDocument, diffDocument } from './diff_document.ts'
import { examine } from './doctor/doctor.ts'
import type { Finding } from './doctor/finding.ts'
import type { NodeFileFacts } from './doctor/patient.ts'
import type { HostFacts } from './host_facts.ts'
import type { AgentFacts, NodeView } from './node_view.ts'
import { type StatusDocument, statusDocument } from './status_document.ts'
import { type SubnetMap, subnetMap } from './subnet_map.ts'
import { type Trace, trace } from './trace/trace.ts'
import { traceEndpoints } from './trace/trace_endpoints.ts'

/** Where the documents' facts come from: an agent's own state, or the store and the kernel read by the CLI. */
export interface NodeSource {
  view(signal: AbortSignal): Promise<NodeView>
  /** All that is ours in the kernel. */
  snapshot(view: NodeView, signal: AbortSignal): Promise<readonly Entry[]>
  hostFacts(signal: AbortSignal): Promise<HostFacts>
  files(): Promise<NodeFileFacts>
  /** `uname -r`. */
  readonly kernelRelease: string
  /** Undefined where no agent runs. */
  agentFacts(): AgentFacts | undefined
}

/** What one node can be asked. The local API and the CLI give the same answers: both make them here. */
export interface NodeDocuments {
  status(signal: AbortSignal): Promise<StatusDocument>
  map(signal: AbortSignal): Promise<SubnetMap>
  diff(signal: AbortSignal): Promise<DiffDocument>
  /** Addresses or names of nodes. Throws EndpointError. */
  trace(from: string, to: string, signal: AbortSignal): Promise<Trace>
  /** All that is wrong on this host, the likeliest cause first. */
  doctor(signal: AbortSignal): Promise<readonly Finding[]>
}

export function nodeDocuments(source: NodeSource): NodeDocuments {
  return {
    async status(signal) {
      const view = await source.view(signal)
      return statusDocument(view, await source.snapshot(view, signal), source.agentFacts(), Date.now())
    },
    async map(signal) {
      const { network, leases, storeKind } = await source.view(signal)
      return subnetMap({ network, leases }, storeKind)
    },
    async diff(signal) {
      const view = await source.view(signal)
      const [actual, facts] = await Promise.all([source.snapshot(view, signal), source.hostFacts(signal)])
      return diffDocument(view.desired, actual, facts)
    },
    async trace(from, to, signal) {
      const [view, facts] = await Promise.all([source.view(signal), source.hostFacts(signal)])
      const [src, dst] = traceEndpoints([from, to], view.leases.table)
      return trace({ ...view, leases: view.leases.table, facts }, src, dst)
    },
    async doctor(signal) {
      const [view, facts] = await Promise.all([source.view(signal), source.hostFacts(signal)])
      const [actual, files] = await Promise.all([source.snapshot(view, signal), source.files()])
      const { kernelRelease } = source
      return examine({ view, facts, actual, files, kernelRelease, agent: source.agentFacts() })
    },
  }
}
