import type { Lease } from '../../lease/lease.ts'
import { familyOf } from '../../lease/net/ip.ts'
import { contains } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config.ts'
import type { InterfaceFacts } from '../state/underlay_facts.ts'

/** What CNI plugins and container runtimes call the bridge that pods are attached to. */
const bridges = /^(cni\d+|docker\d+|cbr\d+|podman\d+|nerdctl\d+|kube-bridge|br-[0-9a-f]+)$/

/**
 * A bridge that still has an address of a subnet that this node had before: pods on it are reached by this node alone. The
 * plugin that made the bridge does not change its address. Undefined where there is none.
 */
export function bridgeTrouble(
  interfaces: readonly InterfaceFacts[],
  { families }: NetworkConfig,
  self: Lease,
): string | undefined {
  for (const { name, addresses } of interfaces) {
    if (!bridges.test(name)) continue
    for (const { address, length, scope } of addresses) {
      const network = families.find(({ family }) => family === familyOf(address))?.network
      const own = self.subnets.find(({ prefix }) => familyOf(prefix) === familyOf(address))?.prefix
      if (scope !== 'global' || own === undefined || network === undefined) continue
      if (!contains(network, address) || contains(own, address)) continue
      return (
        `bridge ${name} still has ${address}/${length}, and this node's subnet is ${own}: other nodes do not reach the pods on ` +
        'it; move the pods away, delete the bridge, and let the plugin or runtime make it again'
      )
    }
  }
  return undefined
}
