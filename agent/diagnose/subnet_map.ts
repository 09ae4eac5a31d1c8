import { Admission } from '../../lease/admission.ts'
import type { Lease, LeaseProblem, LeaseTableChange } from '../../lease/lease.ts'
import { familyOf } from '../../lease/net/ip.ts'
import type { NetworkConfig } from '../../lease/network_config.ts'
import type { StoreOptions } from '../../lease/options.ts'
import type { Backend } from '../backend/backend.ts'
import { openBackend } from '../backend/registry.ts'
import { type Utilisation, utilisation } from './address_space.ts'

/** What a store holds at one moment. */
export interface StoreView {
  readonly network: NetworkConfig
  readonly leases: LeaseTableChange
}

/** One lease, as `--json` prints it. */
export interface MapRow {
  readonly node: string
  readonly subnets: readonly string[]
  readonly publicIps: readonly string[]
  readonly backend: string
  /** One a subnet; null where none is published. */
  readonly vtepMacs: readonly (string | null)[]
  /** etcd's create_revision `revision 17`, or when the Node was created, ISO 8601. */
  readonly since: string
  /** Why agents do not program it; null where they do. */
  readonly refused: string | null
}

export interface SubnetMap {
  readonly networks: readonly string[]
  /** One a network. */
  readonly utilisation: readonly Utilisation[]
  readonly backend: string
  readonly leases: readonly MapRow[]
  /** What stands in the store and is no lease. */
  readonly problems: readonly LeaseProblem[]
}

/** No node's own lease: the map is looked at from outside, where all are peers. */
const nobody: Lease = { node: '', backendType: '', subnets: [], since: 0 }

/** Pure. Leases stand in the order of their subnets. Throws NetworkConfigError. */
export function subnetMap({ network, leases }: StoreView, kind: StoreOptions['kind']): SubnetMap {
  const backend = openBackend(network)
  const admission = new Admission(network)
  admission.update(nobody, leases.table, leases.table.keys())
  const rows = [...leases.table.values()].map((lease): MapRow => {
    const vtepMacs = macsOf(lease, network, backend)
    const refused = admission.refused.get(lease.node) ?? unusable(lease, vtepMacs, backend)
    return {
      node: lease.node,
      subnets: lease.subnets.map(({ prefix }) => prefix),
      publicIps: lease.subnets.map(({ publicIp }) => publicIp),
      backend: lease.backendType,
      vtepMacs,
      since: printSince(lease.since, kind),
      refused: refused ?? null,
    }
  })
  return {
    networks: networksOf(network),
    utilisation: network.families.map(family => utilisation(family, rows)),
    backend: network.backend.type,
    leases: rows.sort(bySubnet),
    problems: leases.problems,
  }
}

/** What every agent of this network would refuse beside the admission's rules. */
function unusable(lease: Lease, vtepMacs: MapRow['vtepMacs'], backend: Backend): string | undefined {
  if (lease.backendType !== backend.type)
    return `its backend is '${lease.backendType}', the network's is '${backend.type}'`
  const needsMac = backend.devices.length > 0
  return needsMac && vtepMacs.includes(null) ? 'it publishes no usable VtepMAC' : undefined
}

/** One a subnet of the lease, which may have fewer families than the network. */
function macsOf(lease: Lease, { families }: NetworkConfig, backend: Backend): MapRow['vtepMacs'] {
  const found = backend.publishedMacs(lease)
  return lease.subnets.map(({ prefix }) => {
    const at = families.findIndex(({ family }) => family === familyOf(prefix))
    return found[at] ?? null
  })
}

function printSince(since: number, kind: StoreOptions['kind']): string {
  return kind === 'etcd' ? `revision ${since}` : new Date(since).toISOString()
}

function networksOf({ families }: NetworkConfig): readonly string[] {
  return families.map(({ network }) => network)
}

function bySubnet(a: MapRow, b: MapRow): number {
  const collator = new Intl.Collator('en', { numeric: true })
  return collator.compare(a.subnets.join(' '), b.subnets.join(' ')) || collator.compare(a.node, b.node)
}
