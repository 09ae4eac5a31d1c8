import type { Agent } from './agent.ts'
import { Bed } from './bed.ts'
import { type EtcdServer, startEtcd } from './etcd.ts'
import type { Host } from './host.ts'
import type { Segment } from './segment.ts'

/** Hosts on one segment with an etcd on a host of its own, as most end-to-end tests need them. */
export interface OverlayBed {
  readonly bed: Bed
  readonly lan: Segment
  readonly etcd: EtcdServer
  readonly hosts: readonly Host[]
  /** One twilld a host, ready; `flags` are for all. */
  startAgents(flags?: readonly string[]): Promise<Agent[]>
  /** Stores a network config, unless told otherwise both families over vxlan. */
  configure(config?: object): Promise<void>
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
    startAgents: flags =>
      Promise.all(hosts.map(host => host.startAgent({ endpoints: etcd.endpoints, ...(flags && { flags }) }))),
    configure: async (config = dualStack) => {
      await etcd.ctl('put', '/coreos.com/network/config', JSON.stringify(config))
    },
    dispose: async () => {
      await etcd.remove()
      await bed.dispose()
    },
  }
}

/** All that an overlay consists of on a host, as iproute2 prints it, in an order of its own. */
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
        .trimEnd(),
    )
    .filter(line => line !== '')
    .sort()
    .join('\n')
}
