import { readdir } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { addressAt } from '../../lease/net/prefix.ts'
import type { FamilySubnet } from '../../lease/node_subnets.ts'

export interface CniConfig {
  /** One or two, IPv4 first. */
  readonly families: readonly FamilySubnet[]
  /** In bytes: what a pod's interface may carry. */
  readonly overlayMtu: number
}

/**
 * A CNI network of the standard plugins, the one to which flannel's own plugin delegates. Pods that were made
 * under one plugin keep working under the other: the bridge is the same, and so is the network's name, by
 * which host-local records addresses.
 *
 * - 0.4.0 is the first version with CHECK, and the latest that every plugin and runtime still in use
 *   supports.
 * - The bridge plugin never masquerades: it would do so between pods of different nodes (its rule knows its
 *   own subnet only).
 * - forceAddress gives the bridge another address when this node's subnet changes; without it the plugin
 *   refuses every new pod until an operator deletes cni0.
 * - A route names its gateway: CHECK of the bridge plugin (1.1.1) does not find a route without one.
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

/** Files that containerd and CRI-O read as network configs. */
const isConfig = /\.(conf|conflist|json)$/

/** Names of the networks in a directory, in the runtime's order: it uses the first one for all pods. */
export async function configsIn(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory).catch(() => [])
  return names.filter(name => isConfig.test(name)).sort()
}

/** Other networks in the directory of `path` that come before it. */
export async function configsBefore(path: string): Promise<readonly string[]> {
  const own = basename(path)
  return (await configsIn(dirname(path))).filter(name => name < own)
}
