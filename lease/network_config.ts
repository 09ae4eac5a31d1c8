import type { Family, Ip } from './net/ip.ts'
import type { Prefix } from './net/prefix.ts'

/** One family's share of the network config. */
export interface FamilyNetwork {
  readonly family: Family
  readonly network: Prefix
  /** Length of each node's subnet, in bits. */
  readonly subnetLength: number
  /** Network address of the first and of the last subnet to lease. */
  readonly subnetMin: Ip
  readonly subnetMax: Ip
}

/** The network config that all nodes share: etcd's `<prefix>/config` or net-conf.json. */
export interface NetworkConfig {
  /** One or two, IPv4 first. */
  readonly families: readonly FamilyNetwork[]
  readonly backend: { readonly type: string; readonly options: Readonly<Record<string, unknown>> }
  readonly enableNftables: boolean
}

/** A network config that breaks a rule. The message names the key, the value, the rule and the remedy. */
export class NetworkConfigError extends Error {
  override name = 'NetworkConfigError'
}
