import type { Lease } from '../../lease/lease.ts'
import { familyOf } from '../../lease/net/ip.ts'
import { contains, type Prefix, prefixLength } from '../../lease/net/prefix.ts'
import { type NetworkConfig, networkFor } from '../../lease/network_config/network_config.ts'
import type { InterfaceAddress, InterfaceFacts } from '../state/underlay_facts.ts'

/** Whether CNI plugins give a pods' bridge this name: cni0, kubenet's cbr0, kube-router's kube-bridge. */
export function isPodBridge(name: string): boolean {
  return /^(cni\d+|cbr\d+|kube-bridge)$/.test(name)
}

/** Names that container runtimes give to bridges of any network. */
const runtimeBridges = /^(docker\d+|podman\d+|nerdctl\d+|br-[0-9a-f]{12})$/

/** The network of a container runtime inside a wide pod network has a prefix of another length: no match. */
export function isFormerSubnet(
  bridge: string,
  { address, length }: Pick<InterfaceAddress, 'address' | 'length'>,
  config: NetworkConfig,
  subnets: readonly Prefix[],
): boolean {
  const network = networkFor(config, address)?.network
  const own = subnets.find(prefix => familyOf(prefix) === familyOf(address))
  if (own === undefined || network === undefined || contains(own, address)) return false
  const isCandidate = isPodBridge(bridge) || (runtimeBridges.test(bridge) && length === prefixLength(own))
  return isCandidate && contains(network, address)
}

/** Only this node reaches the pods on such a bridge: its plugin does not change its address. */
export function bridgeTrouble(
  interfaces: readonly InterfaceFacts[],
  network: NetworkConfig,
  self: Lease,
): string | undefined {
  const subnets = self.subnets.map(({ prefix }) => prefix)
  for (const { name, addresses } of interfaces) {
    for (const at of addresses) {
      const { address, length, scope } = at
      if (scope !== 'global' || !isFormerSubnet(name, at, network, subnets)) continue
      const own = subnets.find(prefix => familyOf(prefix) === familyOf(address))
      return (
        `bridge ${name} still has ${address}/${length}, and this node's subnet is ${own}: other nodes do not reach the pods on ` +
        'it; move the pods away, delete the bridge, and let the plugin or runtime make it again'
      )
    }
  }
  return undefined
}
