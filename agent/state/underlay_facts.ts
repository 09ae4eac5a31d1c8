import type { Ip } from '../../lease/net/ip.ts'
import type { Prefix } from '../../lease/net/prefix.ts'

/** One network interface as the kernel lists it; the external interface is chosen from these. */
export interface InterfaceFacts {
  readonly index: number
  readonly name: string
  /** Alternative names (`ip link property add dev eth0 altname enp0s3`). */
  readonly altNames?: readonly string[]
  /** In bytes, of the interface itself. */
  readonly underlayMtu: number
  /** Administratively up (IFF_UP), with or without carrier. */
  readonly up: boolean
  readonly loopback: boolean
  /** VNI and UDP port of a VXLAN device; undefined for any other interface. */
  readonly vxlan: { readonly vni: number; readonly port: number } | undefined
  /** In the kernel's order: IPv4 first, a primary address before its secondaries. */
  readonly addresses: readonly InterfaceAddress[]
}

/** rtnetlink(7), RT_SCOPE_*: how far an address is valid. */
export type AddressScope = 'global' | 'site' | 'link' | 'host' | 'nowhere'

export interface InterfaceAddress {
  readonly address: Ip
  /** `eth0:1`; undefined where the label is only the interface's name. */
  readonly label?: string
  /** In bits. */
  readonly length: number
  readonly scope: AddressScope
  /** Has no lifetime (IFA_F_PERMANENT); false for DHCP and SLAAC. */
  readonly permanent: boolean
  /** No longer to be used for new connections (IFA_F_DEPRECATED). */
  readonly deprecated: boolean
  /** An IPv6 privacy address (RFC 8981, IFA_F_TEMPORARY). For IPv4 the same bit means secondary. */
  readonly temporary: boolean
  /** Duplicate address detection is running or has failed (IFA_F_TENTATIVE, IFA_F_DADFAILED). */
  readonly tentative: boolean
}

/** A unicast route of the main table that is not ours. */
export interface RouteFacts {
  readonly dst: Prefix
  /** Undefined where the destination is on the link itself. */
  readonly via: Ip | undefined
  readonly dev: string
  readonly metric: number
  /** RTPROT_*: 2 kernel, 3 boot, 4 static, 9 ra, 16 dhcp. */
  readonly protocol: number
  readonly src: Ip | undefined
}

export interface RouteLookup {
  readonly dev: string
  /** Undefined where the address is on the link itself. */
  readonly via: Ip | undefined
  readonly src: Ip | undefined
}
