import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bed, whyNoBed } from '../support/bed.ts'
import { type EtcdServer, startEtcd } from '../support/etcd.ts'
import type { Host } from '../support/host.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const networks = {
  IPv4: { Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } },
  IPv6: {
    EnableIPv4: false,
    EnableIPv6: true,
    IPv6Network: 'fd10:244::/32',
    IPv6SubnetLen: 64,
    Backend: { Type: 'vxlan' },
  },
  'dual stack': {
    Network: '10.244.0.0/16',
    EnableIPv6: true,
    IPv6Network: 'fd10:244::/32',
    IPv6SubnetLen: 64,
    Backend: { Type: 'vxlan' },
  },
  'host-gw': { Network: '10.244.0.0/16', Backend: { Type: 'host-gw' } },
}

describe.skipIf(why !== undefined)('three hosts with one etcd', () => {
  let bed: Bed
  let etcd: EtcdServer
  let hosts: Host[]

  beforeEach(async () => {
    bed = await Bed.create({ name: 'mesh' })
    const lan = await bed.segment('lan', ['192.168.50.0/24', 'fd50::/64'])
    const store = await bed.host('store', lan)
    etcd = await startEtcd({ netns: store.netns, host: store.addresses[0] ?? '' })
    hosts = await Promise.all(['h1', 'h2', 'h3'].map(name => bed.host(name, lan)))
  })
  afterEach(async () => {
    await etcd.remove()
    await bed.dispose()
  })

  it.each(Object.entries(networks))('carry pings between all pods over %s', async (_, network) => {
    await etcd.ctl('put', '/coreos.com/network/config', JSON.stringify(network))
    const agents = await Promise.all(hosts.map(host => host.startAgent({ endpoints: etcd.endpoints })))
    const pods = await Promise.all(hosts.map(host => host.pod()))
    for (const pod of pods)
      for (const other of pods) for (const ip of other.addresses) expect(await pod.ping(ip)).toHaveLength(3)
    for (const agent of agents) expect((await agent.stop()).code).toBe(0)
    for (const pod of pods)
      for (const other of pods) for (const ip of other.addresses) expect(await pod.ping(ip)).toHaveLength(3)
  })
})
