import { familyOf, type Ip, scopeOf } from '../net/ip.ts'
import { contains, overlaps, type Prefix } from '../net/prefix.ts'
import { edgeOfNetwork, type HostNetworks } from './host_networks.ts'

/** Why no node can be reached at this public IP from here, as words after the address; or undefined. */
export function publicIpTrouble(publicIp: Ip, network: Prefix, host: HostNetworks): string | undefined {
  if (familyOf(publicIp) !== familyOf(network)) return `is not ${familyOf(network)}`
  const scope = scopeOf(publicIp)
  if (scope !== 'global') return `is ${scope}, no host is reached by it`
  // Where the pod network and the host's own networks overlap, nodes have addresses in both.
  const isMixed = host.overlapping.some(({ prefix }) => overlaps(prefix, network))
  if (!isMixed && contains(network, publicIp)) return `lies in the pod network ${network}`
  return edgeOfNetwork(publicIp, host)
}
