import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { whyNoBed } from '../support/bed.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'

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
  let overlay: OverlayBed
  beforeEach(async () => {
    overlay = await overlayBed('mesh', ['h1', 'h2', 'h3'])
  })
  afterEach(() => overlay.dispose())

  it.each(Object.entries(networks))('carry pings between all pods over %s', async (_, network) => {
    await overlay.configure(network)
    const agents = await overlay.startAgents()
    const pods = await Promise.all(overlay.hosts.map(host => host.pod()))
    for (const pod of pods)
      for (const other of pods) for (const ip of other.addresses) expect(await pod.ping(ip)).toHaveLength(3)
    for (const agent of agents) expect((await agent.stop()).code).toBe(0)
    for (const pod of pods)
      for (const other of pods) for (const ip of other.addresses) expect(await pod.ping(ip)).toHaveLength(3)
  })
})
