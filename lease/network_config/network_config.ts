import { ExpectedError } from '../common/errors.ts'
import { type Family, familyOf, type Ip, ipToNumber } from '../net/ip.ts'
import { type Prefix, prefixSize } from '../net/prefix.ts'

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

/** The network's share of the family of this address or prefix; undefined where it lacks the family. */
export function networkFor({ families }: NetworkConfig, one: Ip | Prefix): FamilyNetwork | undefined {
  const wanted = familyOf(one)
  return families.find(({ family }) => family === wanted)
}

/** How many addresses a node's subnet has. */
export function subnetSize({ family, subnetLength }: FamilyNetwork): bigint {
  return prefixSize(family, subnetLength)
}

/** How many subnets nodes can lease. */
export function subnetCount(network: FamilyNetwork): bigint {
  return (ipToNumber(network.subnetMax) - ipToNumber(network.subnetMin)) / subnetSize(network) + 1n
}

/** The network config that all nodes share: etcd's `<prefix>/config` or net-conf.json. */
export interface NetworkConfig {
  /** One or two, IPv4 first. */
  readonly families: readonly FamilyNetwork[]
  /**
   * `type` in lower case. `options`: Backend without Type, as written: a backend looks up keys in any case,
   * as Go, and names them in the operator's spelling.
   */
  readonly backend: { readonly type: string; readonly options: Readonly<Record<string, unknown>> }
  readonly enableNftables: boolean
}

/** A network config that breaks a rule. The message names the key, the value, the rule and the remedy. */
export class NetworkConfigError extends ExpectedError {
  override name = 'NetworkConfigError'
}
