import type { Family } from '../../lease/net/ip.ts'

/** The program for a family; br_netfilter's settings have its name too. */
export const iptablesOf: Readonly<Record<Family, string>> = { ipv4: 'iptables', ipv6: 'ip6tables' }

/** The word for a family in nft's tables and matches. */
export const nftOf: Readonly<Record<Family, string>> = { ipv4: 'ip', ipv6: 'ip6' }
