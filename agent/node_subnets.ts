import type { Lease } from '../lease/lease.ts'
import { familyOf } from '../lease/net/ip.ts'
import type { Prefix } from '../lease/net/prefix.ts'
import type { NetworkConfig } from '../lease/network_config.ts'

/** One family: the whole overlay's prefix and this node's. */
export interface FamilySubnet {
  readonly network: Prefix
  readonly subnet: Prefix
}

/** One or two, IPv4 first. */
export function nodeSubnets({ families }: NetworkConfig, self: Lease): readonly FamilySubnet[] {
  return families.flatMap(({ family, network }) => {
    const subnet = self.subnets.find(({ prefix }) => familyOf(prefix) === family)
    return subnet === undefined ? [] : [{ network, subnet: subnet.prefix }]
  })
}
