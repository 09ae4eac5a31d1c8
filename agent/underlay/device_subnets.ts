import { contains, isSingleAddress, networkAddress, type Prefix, prefixOf } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import type { InterfaceFacts } from '../state/underlay_facts.ts'
import { prefixIn } from './local_address.ts'

/**
 * From the addresses of our own devices, each the network address of this node's subnet: an earlier run's is
 * known even without subnet.env and lease cache.
 */
export function deviceSubnets(
  interfaces: readonly InterfaceFacts[],
  devices: readonly string[],
  { families }: NetworkConfig,
): readonly Prefix[] {
  return interfaces
    .filter(({ name }) => devices.includes(name))
    .flatMap(({ addresses }) => addresses.filter(at => isSingleAddress(prefixIn(at))))
    .flatMap(({ address }) =>
      families
        .filter(({ network }) => contains(network, address))
        .map(({ subnetLength }) => prefixOf(address, subnetLength))
        .filter(subnet => networkAddress(subnet) === address),
    )
}
