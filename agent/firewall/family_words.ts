import type { Family } from '../../lease/net/ip.ts'

/** The program for a family; br_netfilter's settings are named after it too. */
export const iptablesOf: Readonly<Record<Family, string>> = { ipv4: 'iptables', ipv6: 'ip6tables' }

/** A family in nft's tables and matches. */
export const nftOf: Readonly<Record<Family, string>> = { ipv4: 'ip', ipv6: 'ip6' }
