import { release } from 'node:os'
import type { StoreOptions } from '../../lease/options.ts'
import { openBackend } from '../backend/registry.ts'
import type { HostFacts } from '../diagnose/host_facts.ts'
import type { NodeSource } from '../diagnose/node_documents.ts'
import type { NodeView } from '../diagnose/node_view.ts'
import { ownLease, underlayFacts } from '../diagnose/own_host.ts'
import type { StoreView } from '../diagnose/subnet_map.ts'
import { readNodeFiles } from '../inspect/read_files.ts'
import { readHost } from '../inspect/read_host.ts'
import { NetlinkKernel } from '../kernel/netlink_kernel.ts'
import { Peers } from '../membership/peers.ts'
import { TWILL_PROTOCOL } from '../state/ownership.ts'

/** No device, no address: what is known of a host's underlay where the host has no lease. */
const noUnderlay = { name: '?', underlayMtu: 0, publicIps: [], localIps: [], onLink: [] }

/** Facts read from store and kernel, each once, with the agent's own rules. For a host whose agent does not answer. */
export async function localSource(
  storeKind: StoreOptions['kind'],
  readLeases: () => Promise<StoreView>,
  subnetFile: string,
  timeoutMs: number,
): Promise<NodeSource & { close(): void }> {
  const kernel = await NetlinkKernel.open()
  const signal = AbortSignal.timeout(timeoutMs)
  let facts: Promise<HostFacts> | undefined
  let view: Promise<NodeView> | undefined
  const hostFacts = () => (facts ??= readHost(signal))
  return {
    hostFacts,
    view: () => (view ??= readView(storeKind, readLeases(), hostFacts())),
    snapshot: ({ backend }, asked) =>
      kernel.snapshot({ devices: backend.devices, routeProtocol: TWILL_PROTOCOL }, asked),
    files: () => readNodeFiles(subnetFile),
    kernelRelease: release(),
    agentFacts: () => undefined,
    close: () => kernel.close(),
  }
}

async function readView(
  storeKind: StoreOptions['kind'],
  leasesRead: Promise<StoreView>,
  reading: Promise<HostFacts>,
): Promise<NodeView> {
  const [{ network, leases }, facts] = await Promise.all([leasesRead, reading])
  const backend = openBackend(network)
  const self = ownLease(facts, leases.table, backend)
  const common = { network, backend, storeKind, leases }
  if (self === undefined)
    return { ...common, self, underlay: noUnderlay, refused: new Map(), desired: new Map() }
  const underlay = underlayFacts(facts, self, backend)
  const peers = new Peers(network, backend, self, underlay)
  peers.setTable(leases.table, new Set(leases.table.keys()))
  return { ...common, self, underlay, refused: peers.refused, desired: peers.state.entries }
}
