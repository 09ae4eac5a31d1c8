import { addressAt } from '../../lease/net/prefix.ts'
import type { FamilySubnet } from '../../lease/node_subnets.ts'

export interface CniConfig {
  /** One or two, IPv4 first. */
  readonly families: readonly FamilySubnet[]
  /** In bytes: what a pod's interface may carry. */
  readonly overlayMtu: number
}

/**
 * A network for pods out of the standard plugins, the same that flannel's own plugin would delegate to: pods made under one
 * live on under the other, on the same bridge, and host-local's record of addresses goes by the network's name.
 *
 * - 0.4.0 is the first version with CHECK, and the last that every plugin and runtime still in use speaks.
 * - The bridge plugin never masquerades: it would do so between pods of different nodes (its rule knows its own subnet only).
 * - forceAddress lets the bridge follow this node to another subnet; without it every new pod is refused until an operator
 *   deletes cni0.
 * - A route names its gateway: CHECK of the bridge plugin does not find one without (1.1.1).
 */
export function renderCniConfig({ families, overlayMtu }: CniConfig): string {
  const bridge = {
    type: 'bridge',
    bridge: 'cni0',
    mtu: overlayMtu,
    isGateway: true,
    isDefaultGateway: true,
    forceAddress: true,
    hairpinMode: true,
    ipMasq: false,
    ipam: {
      type: 'host-local',
      ranges: families.map(({ subnet }) => [{ subnet }]),
      routes: families.map(({ network, subnet }) => ({ dst: network, gw: addressAt(subnet, 1) })),
    },
  }
  const portmap = { type: 'portmap', capabilities: { portMappings: true } }
  return `${JSON.stringify({ cniVersion: '0.4.0', name: 'cbr0', plugins: [bridge, portmap] }, null, 2)}\n`
}
