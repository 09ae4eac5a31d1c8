import type { Ip } from '../../lease/net/ip.ts'
import type { Mac } from '../../lease/net/mac.ts'
import type { Prefix } from '../../lease/net/prefix.ts'

/** An entry that the kernel holds. Devices are named: one that is recreated has another index. */
export type Entry = Link | Address | FdbEntry | Neighbor | Route

export interface Link {
  readonly kind: 'link'
  readonly name: string
  readonly mac: Mac
  /** In bytes: the largest packet inside the tunnel. */
  readonly deviceMtu: number
  readonly up: boolean
  /** No backend sets these two: index of its bridge or VRF, and a carrier that a program took away. */
  readonly master?: number | undefined
  readonly protodown?: boolean | undefined
  readonly vxlan: Vxlan
}

export interface Vxlan {
  readonly vni: number
  readonly port: number
  /** Source address of the outer packet. */
  readonly local: Ip
  /** Name of the underlay interface that the device sends through. */
  readonly underlay: string
  readonly learning: boolean
  /** Group Based Policy extension. */
  readonly gbp: boolean
  /** Options in the kernel that no backend sets, as `ip -d link` prints them: `group 239.1.1.1 l2miss`. */
  readonly extra?: string
}

export interface Address {
  readonly kind: 'address'
  readonly dev: string
  readonly address: Ip
  /** In bits. */
  readonly length: number
}

/** The VTEP behind which a MAC is: permanent, on the device itself (`self`). */
export interface FdbEntry {
  readonly kind: 'fdb'
  readonly dev: string
  readonly mac: Mac
  readonly dst: Ip
  /** No backend sets these: UDP port, VNI and interface index where they differ from the device's. */
  readonly port?: number | undefined
  readonly vni?: number | undefined
  readonly via?: number | undefined
}

/** A permanent neighbor: ARP for IPv4, NDP for IPv6. */
export interface Neighbor {
  readonly kind: 'neighbor'
  readonly dev: string
  readonly address: Ip
  readonly mac: Mac
}

export type Route = UnicastRoute | BlackholeRoute | OtherRoute

interface RouteBase {
  readonly kind: 'route'
  readonly dst: Prefix
  /** The kernel's priority: 0 for an IPv4 route without one, 1024 for an IPv6 route without one. */
  readonly metric: number
  /** RTPROT_*: 3 is `boot`, flannel's; see ownership.ts for ours. */
  readonly protocol: number
}

export interface UnicastRoute extends RouteBase {
  readonly type: 'unicast'
  readonly dev: string
  readonly via: Ip | undefined
  readonly onlink: boolean
  /** Attributes in the kernel that no backend sets: `metrics`, `encap`, `nhid 7`. */
  readonly extra?: string
}

/** The kernel drops packets for this destination. */
export interface BlackholeRoute extends RouteBase {
  readonly type: 'blackhole'
}

/** A route in the kernel that no backend asks for: over several devices, or of another type. */
export interface OtherRoute extends RouteBase {
  readonly type: 'other'
}
