import type { Lease } from '../../../lease/lease.ts'
import type { NetworkConfig } from '../../../lease/network_config/network_config.ts'
import type { StoreOptions } from '../../../lease/options.ts'
import { type Backend, PeerRefusedError, type Underlay } from '../../backend/backend.ts'
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
  facts: LocalFacts,
  question: (node: NodeDocuments) => Promise<T>,
): Promise<T> {
  const source = await localSource(facts)
  try {
    return await question(nodeDocuments(source))
  } finally {
    source.close()
  }
}

async function localSource({
  storeKind,
  readLeases,
  subnetFile,
  timeoutMs,
  probePort = DEFAULT_PROBE_PORT,
  podAddresses,
  agentAnswer,
}: LocalFacts): Promise<NodeSource & { close(): void }> {
  const kernel = await NetlinkKernel.open()
  const signal = AbortSignal.timeout(timeoutMs)
  let facts: Promise<HostFacts> | undefined
  let view: Promise<NodeView> | undefined
  const hostFacts = () => (facts ??= readHost(signal))
  let leases: Promise<StoreView> | undefined
  const readOnce = () => (leases ??= readLeases())
  return {
    ...thisHost(kernel, subnetFile, undefined),
    hostFacts,
    view: () => (view ??= readView(storeKind, readOnce(), hostFacts())),
    leaseTimes: async () => (await readOnce()).times ?? new Map(),
    podAddresses,
    probePort,
    agentAnswer,
    close: () => kernel.close(),
  }
}

function remedyFor({ unseen: [first = ''] }: HostFacts): string {
  return first.endsWith('not installed') ? 'install iproute2' : 'run it as root, with more time: --timeout=60'
}

async function readView(
  storeKind: StoreOptions['kind'],
  leasesRead: Promise<StoreView>,
  reading: Promise<HostFacts>,
): Promise<NodeView> {
  const [{ network, leases }, facts] = await Promise.all([leasesRead, reading])
  if (isBlind(facts))
    throw new UnseenHostError(`Cannot look at this host: ${facts.unseen[0]}; ${remedyFor(facts)}`)
  const backend = openBackend(network)
  const self = ownLease(facts, leases.table, backend)
  const common = { network, backend, storeKind, leases }
  if (self === undefined)
    return { ...common, self, underlay: noUnderlay, refused: new Map(), desired: new Map() }
  const underlay = underlayFacts(facts, self, backend)
  const peers = openPeers(network, backend, self, underlay)
  peers.setTable(leases.table, new Set(leases.table.keys()))
  return { ...common, self, underlay, refused: peers.refused, desired: peers.state.entries }
}

/** Throws UnseenHostError if this host's own lease is unusable. */
function openPeers(...parts: readonly [NetworkConfig, Backend, Lease, Underlay]): Peers {
  try {
    return new Peers(...parts)
  } catch (cause) {
    if (!(cause instanceof PeerRefusedError)) throw cause
    const [, , { node }] = parts
    throw new UnseenHostError(`Cannot use the lease of this host, ${node}: ${cause.message}`, { cause })
  }
}
