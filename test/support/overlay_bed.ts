import { parsePrefix } from '../../lease/net/prefix.ts'
import type { Agent } from './agent.ts'
import { Bed } from './bed.ts'
import { type EtcdServer, startEtcd } from './etcd.ts'
import type { Host } from './host.ts'
import type { Segment } from './segment.ts'
import { until } from './until.ts'

/** Hosts on one segment, and etcd on another host, as most end-to-end tests need them. */
export interface OverlayBed {
  readonly bed: Bed
  readonly lan: Segment
  readonly etcd: EtcdServer
  readonly hosts: readonly Host[]
  /**
   * Starts one twilld on each host; resolves when all are ready and have routes to all others. `flags` are
   * for all.
   */
  startAgents(flags?: readonly string[]): Promise<Agent[]>
  /** Waits until each host has routes to all others; all must run an agent. */
  connected(): Promise<void>
  /**
   * Stores a network config; by default both families over vxlan. Where the network is 10.244.0.0/16 and the
   * config has no range, hosts draw their subnets from 10.244.16.0 to 10.244.63.0, so that a test can use any
   * other subnet without a conflict.
   */
  configure(config?: Readonly<Record<string, unknown>>): Promise<void>
  dispose(): Promise<void>
}

export const dualStack = {
  Network: '10.244.0.0/16',
  EnableIPv6: true,
  IPv6Network: 'fd10:244::/32',
  IPv6SubnetLen: 64,
  Backend: { Type: 'vxlan' },
}

export async function overlayBed(name: string, hostNames: readonly string[]): Promise<OverlayBed> {
  const bed = await Bed.create({ name })
  const lan = await bed.segment('lan', ['192.168.50.0/24', 'fd50::/64'])
  const store = await bed.host('store', lan)
  const etcd = await startEtcd({ netns: store.netns, host: store.address() })
  const hosts = await Promise.all(hostNames.map(host => bed.host(host, lan)))
  return {
    bed,
    lan,
    etcd,
    hosts,
    startAgents: async (flags = []) => {
      const agents = await Promise.all(
        hosts.map(host => host.startAgent({ endpoints: etcd.endpoints, flags })),
      )
      await connected(hosts)
      return agents
    },
    connected: () => connected(hosts),
    configure: async (config = dualStack) => {
      await etcd.ctl('put', '/coreos.com/network/config', JSON.stringify(inRange(config)))
    },
    dispose: async () => {
      await etcd.remove()
      await bed.dispose()
    },
  }
}

function inRange(config: Readonly<Record<string, unknown>>): object {
  if (config.Network !== dualStack.Network || 'SubnetMin' in config || 'SubnetMax' in config) return config
  return { ...config, SubnetMin: '10.244.16.0', SubnetMax: '10.244.63.0' }
}

/** Waits for the routes: a peer's route is programmed last, so with it everything is there. */
async function connected(hosts: readonly Host[]): Promise<void> {
  for (const host of hosts) {
    const subnets = hosts.filter(other => other !== host).flatMap(subnetsOf)
    await until(`${host.name} to have routes to ${subnets}`, async () => {
      const routes = [...(await host.routes('ipv4')), ...(await host.routes('ipv6'))]
      return subnets.every(subnet => routes.some(line => line.startsWith(`${subnet} via `)))
    })
  }
}

function subnetsOf(host: Host): string[] {
  const { FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET } = host.subnetEnv()
  return [FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET].flatMap(text => (text === undefined ? [] : parsePrefix(text)))
}

/** All entries of the overlay on a host, as iproute2 prints them, in a fixed order. */
export async function overlayText(host: Host): Promise<string> {
  const show = [
    'ip -o -d link show type vxlan',
    'ip -o address show | grep flannel | grep -v fe80',
    'ip -4 route show',
    'ip -6 route show | grep -v fe80',
    'ip -4 neigh show nud permanent',
    'ip -6 neigh show nud permanent',
    'bridge fdb show | grep flannel',
  ]
  const text = await host.exec(['sh', '-c', show.map(command => `${command} || true`).join('; ')])
  return text
    .split('\n')
    .map(line =>
      line
        .replace(/^\d+: /, '')
        .replace(' tentative', '')
        // A tunnel device whose carrier was taken away and given back.
        .replace(' state UP ', ' state UNKNOWN ')
        .trimEnd(),
    )
    .filter(line => line !== '')
    .sort()
    .join('\n')
}
