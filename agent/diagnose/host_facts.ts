import type { Family, Ip } from '../../lease/net/ip.ts'
import type { Mac } from '../../lease/net/mac.ts'
import type { Prefix } from '../../lease/net/prefix.ts'

/** One host's kernel network state at one moment, in iproute2's words: walks and checks read only this. */
export interface HostFacts {
  readonly links: readonly LinkFacts[]
  /** Of both families, by priority. */
  readonly rules: readonly RuleFacts[]
  readonly routes: readonly TableRoute[]
  readonly neighbors: readonly NeighborFacts[]
  /** Of VXLAN devices. Undefined: not read, nor the neighbors there; the agent's own loop knows both. */
  readonly fdb: readonly FdbFacts[] | undefined
  /** By name, as sysctl(8) takes it: `net.ipv4.ip_forward`. */
  readonly sysctls: Readonly<Record<string, string>>
  /** Text of `iptables-save`, once for each family and flavour that answered; iptables(8). */
  readonly iptables: readonly IptablesDump[]
  /** `nft -j list ruleset`: JSON of libnftables-json(5); undefined if nft did not answer. */
  readonly nftables: unknown
  /** Text of `nft list ruleset`, if the JSON leaves out the devices of its chains; else empty. */
  readonly nftText: string
  /** Packets dropped by the reverse path filter since the host started. */
  readonly reversePathDrops: number
  /** What could not be read, and why: one sentence each. */
  readonly unseen: readonly string[]
}

export interface LinkFacts {
  readonly name: string
  /** `vxlan`, `bridge`, `veth`, ...; undefined for a plain network card. */
  readonly kind: string | undefined
  readonly up: boolean
  /** LOWER_UP: a cable, or a peer, is there. */
  readonly carrier: boolean
  /** In bytes. */
  readonly mtu: number
  readonly mac: Mac | undefined
  readonly master: string | undefined
  /** Of a bridge's port: `forwarding`, `blocking`, `disabled`, ... */
  readonly portState: string | undefined
  /** Without neighbors: a point-to-point link, or a device that asks for none, as WireGuard's. */
  readonly noNeighbors: boolean
  /** A veth whose other end is in another network namespace, as a pod's. */
  readonly leadsElsewhere: boolean
  readonly vxlan: VxlanFacts | undefined
  readonly addresses: readonly { readonly address: Ip; readonly length: number }[]
}

export interface VxlanFacts {
  readonly vni: number
  readonly port: number
  readonly local: Ip | undefined
  readonly underlay: string | undefined
  /** Options that devices on one UDP port must have in common: `gbp`, `external`. */
  readonly options: readonly string[]
}

export interface RuleFacts {
  readonly family: Family
  readonly priority: number
  readonly src: Prefix | undefined
  readonly dst: Prefix | undefined
  readonly iif: string | undefined
  readonly oif: string | undefined
  readonly mark: { readonly value: number; readonly mask: number } | undefined
  /** A table's name or number; undefined if the rule itself decides. */
  readonly table: string | undefined
  /** `blackhole`, `unreachable`, `prohibit`, `goto`, `nop`: undefined for a look-up in `table`. */
  readonly action: string | undefined
  /** A look-up result with this prefix length or shorter is ignored. */
  readonly suppressLength: number | undefined
  /** `not from ...`. */
  readonly inverted: boolean
  /** Selectors that cannot be judged here (uid range, protocol, ports, tos), as ip prints them. */
  readonly others: readonly string[]
}

export interface TableRoute {
  readonly table: string
  /** `unicast`, `local`, `blackhole`, `unreachable`, `prohibit`, `throw`, ... */
  readonly type: string
  readonly dst: Prefix
  /** The first of a multipath route. */
  readonly via: Ip | undefined
  readonly dev: string | undefined
  readonly metric: number
  readonly protocol: string
  readonly flags: readonly string[]
}

export interface NeighborFacts {
  readonly address: Ip
  readonly dev: string
  readonly mac: Mac | undefined
  readonly states: readonly string[]
}

export interface FdbFacts {
  readonly mac: Mac
  readonly dev: string
  readonly dst: Ip
}

export interface IptablesDump {
  readonly family: Family
  /** `iptables-save`, `iptables-legacy-save`, ... */
  readonly command: string
  readonly text: string
}

/** Whether iproute2 gave no answer: a device or route that is not in the facts may exist then. */
export function isBlind({ unseen }: HostFacts): boolean {
  return unseen.some(what => /^'(ip|bridge) /.test(what))
}
