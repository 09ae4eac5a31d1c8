import type { Ip } from '../../lease/net/ip.ts'
import type { Mac } from '../../lease/net/mac.ts'
import type { Prefix } from '../../lease/net/prefix.ts'

/** What the kernel holds and we program. Devices are named, not numbered: an index dies with its device. */
export type Entry = Link | Address | FdbEntry | Neighbor | Route

/** A VXLAN device. */
export interface Link {
  readonly kind: 'link'
  readonly name: string
  readonly mac: Mac
  /** In bytes, of what the device carries inside. */
  readonly deviceMtu: number
  /** Administrative state. */
  readonly up: boolean
  /** No backend asks for these: index of the bridge or VRF that the device is a port of, and carrier taken away. */
  readonly master?: number | undefined
  readonly protodown?: boolean | undefined
  readonly vxlan: Vxlan
}

export interface Vxlan {
  readonly vni: number
  /** UDP destination port. */
  readonly port: number
  /** Source address of the outer packet. */
  readonly local: Ip
  /** Name of the underlay interface that it sends through. */
  readonly underlay: string
  readonly learning: boolean
  /** Group Based Policy extension. */
  readonly gbp: boolean
  /** What stands in the kernel and no backend asks for, as `ip -d link` names it: `group 239.1.1.1 l2miss`. */
  readonly extra?: string
}

export interface Address {
  readonly kind: 'address'
  readonly dev: string
  readonly address: Ip
  /** In bits. */
  readonly length: number
}

/** Which VTEP a MAC lives behind: permanent, on the device itself (`self`). */
export interface FdbEntry {
  readonly kind: 'fdb'
  readonly dev: string
  readonly mac: Mac
  readonly dst: Ip
  /** No backend asks for these: UDP port, VNI and index of the interface, where they are not the device's own. */
  readonly port?: number | undefined
  readonly vni?: number | undefined
  readonly via?: number | undefined
}

/** ARP for IPv4, NDP for IPv6: permanent. */
export interface Neighbor {
  readonly kind: 'neighbor'
  readonly dev: string
  readonly address: Ip
  readonly mac: Mac
}

/** A route in the main table. */
export type Route = UnicastRoute | BlackholeRoute | OtherRoute

interface RouteBase {
  readonly kind: 'route'
  readonly dst: Prefix
  /** Priority; 0 where IPv4 has none, 1024 as IPv6 has by default. */
  readonly metric: number
  /** RTPROT_*: 3 is `boot`, flannel's; see ownership.ts for ours. */
  readonly protocol: number
}

export interface UnicastRoute extends RouteBase {
  readonly type: 'unicast'
  readonly dev: string
  readonly via: Ip | undefined
  readonly onlink: boolean
  /** What stands in the kernel and no backend asks for: `metrics`, `encap`, `nhid 7`. */
  readonly extra?: string
}

/** Drops what is sent there. */
export interface BlackholeRoute extends RouteBase {
  readonly type: 'blackhole'
}

/** What stands in the kernel and no backend asks for: a route over several devices, or of another type. */
export interface OtherRoute extends RouteBase {
  readonly type: 'other'
}
