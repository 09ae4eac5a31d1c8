import type { Lease, LeaseProblem, LeaseTableChange } from '../../lease/lease.ts'
import { familyOf, parseIp } from '../../lease/net/ip.ts'
import { parseMac } from '../../lease/net/mac.ts'
import { hostPrefix, parsePrefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config.ts'
import type { StoreOptions } from '../../lease/options.ts'
import type { Backend, Underlay } from '../backend/backend.ts'
import { openBackend } from '../backend/registry.ts'
import { Peers } from '../membership/peers.ts'
import { type Utilisation, utilisation } from './address_space.ts'

/** So many other leases with one public IP are named. */
const NAMED = 3

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
  /** What an operator should know of a lease that is programmed; null where there is nothing. */
  readonly note: string | null
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

/** Pure. Leases stand in the order of their subnets. Throws NetworkConfigError. */
export function subnetMap({ network, leases }: StoreView, kind: StoreOptions['kind']): SubnetMap {
  const backend = openBackend(network)
  const { refused, shared } = judgedByAgents(network, backend, leases)
  const rows = [...leases.table.values()].map((lease): MapRow => {
    const vtepMacs = macsOf(lease, network, backend)
    return {
      node: lease.node,
      subnets: lease.subnets.map(({ prefix }) => prefix),
      publicIps: lease.subnets.map(({ publicIp }) => publicIp),
      backend: lease.backendType,
      vtepMacs,
      since: printSince(lease.since, kind),
      refused: refused.get(lease.node) ?? null,
      note: noteOn(lease, shared),
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

/** An address of each family that no host has (RFC 7600's dummy, RFC 6666's discard prefix), and a MAC that no device has. */
const NOWHERE = { ipv4: parseIp('192.0.0.8'), ipv6: parseIp('100::1') }
const NO_MAC = parseMac('00:00:00:00:00:00')

/** What an agent of the network would make of these leases, by its own code: one whose own lease is none of them. */
function judgedByAgents(network: NetworkConfig, backend: Backend, { table }: LeaseTableChange): Peers {
  const addresses = network.families.map(({ family }) => NOWHERE[family])
  const self: Lease = {
    node: '',
    backendType: backend.type,
    since: Number.POSITIVE_INFINITY,
    subnets: addresses.map(ip => ({
      prefix: hostPrefix(ip),
      publicIp: ip,
      backendData: { vni: undefined, mac: NO_MAC },
    })),
  }
  const underlay: Underlay = {
    name: '',
    underlayMtu: 1500,
    publicIps: addresses,
    localIps: addresses,
    // Whether a peer is near differs from node to node: without a device (host-gw) all have to be, with one none is taken to be.
    onLink: backend.devices.length === 0 ? [parsePrefix('0.0.0.0/0'), parsePrefix('::/0')] : [],
  }
  const peers = new Peers(network, backend, self, underlay)
  peers.setTable(table, new Set(table.keys()))
  return peers
}

function noteOn({ node, subnets }: Lease, shared: Peers['shared']): string | null {
  const notes = subnets.flatMap(({ publicIp }) => {
    const others = (shared.get(publicIp) ?? []).filter(other => other !== node)
    const more = others.length > NAMED ? ` and ${others.length - NAMED} more` : ''
    return others.length === 0
      ? []
      : [`its public IP ${publicIp} is also that of ${others.slice(0, NAMED).join(', ')}${more}`]
  })
  return notes.length === 0 ? null : notes.join('; ')
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
