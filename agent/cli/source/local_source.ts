import type { StoreOptions } from '../../../lease/options.ts'
import { PeerRefusedError } from '../../backend/backend.ts'
import { openBackend } from '../../backend/registry.ts'
import { DEFAULT_PROBE_PORT } from '../../config/flags.ts'
import { type HostFacts, isBlind } from '../../diagnose/host_facts.ts'
import { type NodeDocuments, type NodeSource, nodeDocuments } from '../../diagnose/node_documents.ts'
import type { NodeView } from '../../diagnose/node_view.ts'
import { ownLease, underlayFacts } from '../../diagnose/own_host.ts'
import { readHost } from '../../inspect/read_host.ts'
import { thisHost } from '../../inspect/this_host.ts'
import { NetlinkKernel } from '../../kernel/netlink_kernel.ts'
import type { StoreView } from '../../map/subnet_map.ts'
import { Peers } from '../../membership/peers.ts'
import { UnseenHostError } from './unseen_host.ts'

/** Underlay facts of a host without a lease: no device, no address. */
const noUnderlay = { name: '?', underlayMtu: 0, publicIps: [], localIps: [], onLink: [] }

interface LocalFacts {
  readonly storeKind: StoreOptions['kind']
  readonly readLeases: () => Promise<StoreView>
  readonly subnetFile: string
  readonly timeoutMs: number
  readonly probePort?: number | undefined
  readonly podAddresses: NodeSource['podAddresses']
  readonly agentAnswer: NodeSource['agentAnswer']
}

/** Answers from store and kernel, each read once, by the agent's own rules; used if no agent answers. */
export async function askHost<T>(
  { storeKind, readLeases, subnetFile, timeoutMs, probePort, podAddresses, agentAnswer }: LocalFacts,
  question: (node: NodeDocuments) => Promise<T>,
): Promise<T> {
  const kernel = await NetlinkKernel.open()
  const signal = AbortSignal.timeout(timeoutMs)
  const facts = once(() => readHost(signal))
  const leases = once(readLeases)
  const source = {
    ...thisHost(kernel, subnetFile, undefined),
    hostFacts: facts,
    view: once(() => readView(storeKind, leases(), facts())),
    leaseTimes: async () => (await leases()).times ?? new Map(),
    podAddresses,
    probePort: probePort ?? DEFAULT_PROBE_PORT,
    agentAnswer,
  }
  try {
    return await question(nodeDocuments(source))
  } finally {
    kernel.close()
  }
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => (made ??= make())
}

async function readView(
  storeKind: StoreOptions['kind'],
  leasesRead: Promise<StoreView>,
  reading: Promise<HostFacts>,
): Promise<NodeView> {
  const [{ network, leases }, facts] = await Promise.all([leasesRead, reading])
  if (isBlind(facts)) {
    const [first = ''] = facts.unseen
    const more = 'run it as root, with more time: --timeout=60'
    const remedy = first.endsWith('not installed') ? 'install iproute2' : more
    throw new UnseenHostError(`Cannot look at this host: ${first}; ${remedy}`)
  }
  const backend = openBackend(network)
  const self = ownLease(facts, leases.table, backend)
  const common = { network, backend, storeKind, leases }
  if (self === undefined)
    return { ...common, self, underlay: noUnderlay, refused: new Map(), desired: new Map() }
  const underlay = underlayFacts(facts, self, backend)
  try {
    const peers = new Peers(network, backend, self, underlay)
    peers.setTable(leases.table, new Set(leases.table.keys()))
    return { ...common, self, underlay, refused: peers.refused, desired: peers.state.entries }
  } catch (cause) {
    if (!(cause instanceof PeerRefusedError)) throw cause
    throw new UnseenHostError(`Cannot use the lease of this host, ${self.node}: ${cause.message}`, { cause })
  }
}
