import type { Lease, LeaseProblem, LeaseTable, LeaseTableChange } from '../../lease/lease.ts'
import { familyOf, parseIp } from '../../lease/net/ip.ts'
import { parseMac } from '../../lease/net/mac.ts'
import { everyAddress, hostPrefix, type Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import type { StoreOptions } from '../../lease/options.ts'
import type { LeaseTimes } from '../../lease/store.ts'
import type { Backend, Underlay } from '../backend/backend.ts'
import { openBackend } from '../backend/registry.ts'
import { Peers } from '../membership/peers.ts'
import { type Utilisation, utilisation } from './address_space.ts'

/** Most other leases with the same public IP that a note names. */
const NAMED = 3

export interface StoreView {
  readonly network: NetworkConfig
  readonly leases: LeaseTableChange
  /** Undefined if not requested. */
  readonly times?: ReadonlyMap<string, LeaseTimes> | undefined
}

/** One lease, as `--json` prints it. */
export interface MapRow {
  readonly node: string
  readonly subnets: readonly string[]
  readonly publicIps: readonly string[]
  readonly backend: string
  /** One for each subnet; null if none is published. */
  readonly vtepMacs: readonly (string | null)[]
  /** etcd's create_revision `revision 17`, or when the Node was created, ISO 8601. */
  readonly since: string
  /** Last renewal (etcd) or creation of the Node (Kubernetes), ISO 8601; null if not requested. */
  readonly renewedAt: string | null
  /** ISO 8601; `never` for a reservation and on Kubernetes; null if not requested. */
  readonly expiresAt: string | null
  /** Whether this host's kernel has the lease's entries; null outside the network and for refused leases. */
  readonly kernel: 'ok' | 'differs' | null
  /** Why agents do not program it; null if they do. */
  readonly refused: string | null
  /** A remark for the operator on a programmed lease; null if there is none. */
  readonly note: string | null
}

/** Facts known before each lease is judged. */
export interface MapHead {
  readonly networks: readonly string[]
  readonly utilisation: readonly Utilisation[]
  readonly backend: string
}

export interface SubnetMap extends MapHead {
  readonly leases: readonly MapRow[]
  readonly problems: readonly LeaseProblem[]
}

/** Pure. `kernel`: whether this host's kernel has a lease's entries, by node. Throws NetworkConfigError. */
export function subnetMap(
  { network, leases, times }: StoreView,
  kind: StoreOptions['kind'],
  kernel?: ReadonlyMap<string, boolean>,
): SubnetMap {
  const backend = openBackend(network)
  const { refused, shared } = judgedByAgents(network, backend, leases)
  const rows = [...leases.table.values()].map((lease): MapRow => {
    const agrees = kernel?.get(lease.node)
    return {
      node: lease.node,
      subnets: lease.subnets.map(({ prefix }) => prefix),
      publicIps: lease.subnets.map(({ publicIp }) => publicIp),
      backend: lease.backendType,
      vtepMacs: macsOf(lease, network, backend),
      since: kind === 'etcd' ? `revision ${lease.since}` : new Date(lease.since).toISOString(),
      ...printTimes(lease, kind, times?.get(lease.node)),
      kernel: agrees === undefined ? null : agrees ? 'ok' : 'differs',
      refused: refused.get(lease.node) ?? null,
      note: noteOn(lease, shared),
    }
  })
  return { ...mapHead({ network, leases }), leases: rows.sort(bySubnet), problems: leases.problems }
}

export function mapHead({ network, leases }: StoreView): MapHead {
  return {
    networks: network.families.map(family => family.network),
    utilisation: utilisations(network, leases.table),
    backend: network.backend.type,
  }
}

export function utilisations({ families }: NetworkConfig, table: LeaseTable): readonly Utilisation[] {
  const holders = Array.from(table.values(), ({ subnets, backendType }) => ({
    subnets: subnets.map(({ prefix }) => prefix),
    backend: backendType,
  }))
  return families.map(family => utilisation(family, holders))
}

/** Addresses that no host has (the dummy of RFC 7600, the discard prefix of RFC 6666). */
const NOWHERE = { ipv4: parseIp('192.0.0.8'), ipv6: parseIp('100::1') }
const NO_MAC = parseMac('00:00:00:00:00:00')

/** Judges the leases by the agents' own code, for an agent whose own lease is not among them. */
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
    // Each node has other peers on its link. A backend without a device (host-gw) needs all peers on the
    // link: assumes so. With a device, a peer may be on another network: assumes that none is on the link.
    onLink: backend.devices.length === 0 ? network.families.map(({ family }) => everyAddress(family)) : [],
  }
  const peers = new Peers(network, backend, self, underlay)
  peers.setTable(table, new Set(table.keys()))
  return peers
}

function noteOn({ node, subnets }: Lease, shared: Peers['shared']): string | null {
  const notes = subnets.flatMap(({ publicIp }) => {
    const nodes = shared.get(publicIp) ?? []
    // Names only the first ones: thousands of leases may share one address, and each gets such a note.
    const others = nodes.slice(0, NAMED + 1).filter(other => other !== node)
    const named = others.slice(0, NAMED)
    const rest = nodes.length - 1 - named.length
    const more = rest > 0 ? ` and ${rest} more` : ''
    return named.length === 0 ? [] : [`its public IP ${publicIp} is also that of ${named.join(', ')}${more}`]
  })
  return notes.length === 0 ? null : notes.join('; ')
}

/** One for each subnet of the lease, which may have fewer families than the network. */
function macsOf(lease: Lease, { families }: NetworkConfig, backend: Backend): MapRow['vtepMacs'] {
  const found = backend.publishedMacs(lease)
  const placeOf = (prefix: Prefix) => families.findIndex(({ family }) => family === familyOf(prefix))
  return lease.subnets.map(({ prefix }) => found[placeOf(prefix)] ?? null)
}

/** A Node's lease is its podCIDR, which it keeps for its lifetime. */
function printTimes({ since }: Lease, kind: StoreOptions['kind'], times: LeaseTimes | undefined) {
  const print = (ms: number) => new Date(ms).toISOString()
  if (kind === 'kubernetes') return { renewedAt: print(since), expiresAt: 'never' }
  if (times === undefined) return { renewedAt: null, expiresAt: null }
  const { renewedAtMs, endsAtMs } = times
  if (renewedAtMs === undefined || endsAtMs === undefined) return { renewedAt: null, expiresAt: 'never' }
  return { renewedAt: print(renewedAtMs), expiresAt: print(endsAtMs) }
}

const collator = new Intl.Collator('en', { numeric: true })

function bySubnet(a: MapRow, b: MapRow): number {
  return collator.compare(a.subnets.join(' '), b.subnets.join(' ')) || collator.compare(a.node, b.node)
}
