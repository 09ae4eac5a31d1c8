import { type Lease, subnetOf } from './lease.ts'
import type { Prefix } from './net/prefix.ts'
import type { NetworkConfig } from './network_config/network_config.ts'

/** One family's prefix of the whole overlay, and of this node. */
export interface FamilySubnet {
  readonly network: Prefix
  readonly subnet: Prefix
}

/** One or two, IPv4 first. */
export function nodeSubnets({ families }: NetworkConfig, self: Lease): readonly FamilySubnet[] {
  return families.flatMap(({ family, network }) => {
    const subnet = subnetOf(self, family)
    return subnet === undefined ? [] : [{ network, subnet: subnet.prefix }]
  })
}
