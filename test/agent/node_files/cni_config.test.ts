import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CniConfig, renderCniConfig } from '../../../agent/node_files/cni_config.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { Bed, whyNoBed } from '../../support/bed.ts'
import { CniRuntime } from '../../support/cni.ts'
import type { Host } from '../../support/host.ts'

const v4 = { network: parsePrefix('10.244.0.0/16'), subnet: parsePrefix('10.244.1.0/24') }
const v6 = { network: parsePrefix('fd00:10::/48'), subnet: parsePrefix('fd00:10:0:1::/64') }

describe('the CNI network', () => {
  it("is what flannel's plugin delegates to, and goes by the same name", () => {
    expect(JSON.parse(renderCniConfig({ families: [v4, v6], overlayMtu: 1430 }))).toEqual({
      cniVersion: '0.4.0',
      name: 'cbr0',
      plugins: [
        {
          type: 'bridge',
          bridge: 'cni0',
          mtu: 1430,
          isGateway: true,
          isDefaultGateway: true,
          forceAddress: true,
          hairpinMode: true,
          ipMasq: false,
          ipam: {
            type: 'host-local',
            ranges: [[{ subnet: '10.244.1.0/24' }], [{ subnet: 'fd00:10:0:1::/64' }]],
            routes: [
              { dst: '10.244.0.0/16', gw: '10.244.1.1' },
              { dst: 'fd00:10::/48', gw: 'fd00:10:0:1::1' },
            ],
          },
        },
        { type: 'portmap', capabilities: { portMappings: true } },
      ],
    })
  })
})

describe.skipIf(whyNoBed() !== undefined)("the CNI network, with Debian's plugins", () => {
  let bed: Bed
  let host: Host
  let runtime: CniRuntime
  beforeAll(async () => {
    bed = await Bed.create({ name: 'cniconf' })
    host = await bed.host('h1', await bed.segment('lan', ['192.168.50.0/24', 'fd50::/64']))
    await host.sysctl({ 'ipv6/conf/default/accept_dad': 0 })
    runtime = new CniRuntime(bed, host, join(host.directory, 'conflist'))
  })
  afterAll(() => bed.dispose())

  const write = (config: CniConfig) =>
    writeFileSync(join(host.directory, 'conflist'), renderCniConfig(config))
  const addressesOf = async (device: string) =>
    Array.from(
      (await host.exec(['ip', '-o', 'address', 'show', 'dev', device, 'scope', 'global'])).matchAll(
        /inet6? (\S+)/g,
      ),
      match => match[1],
    )

  it('gives pods both families, routes and the MTU; passes CHECK; takes all back by DEL', async () => {
    write({ families: [v4, v6], overlayMtu: 1430 })
    const pod = await runtime.add()
    expect(pod.addresses).toEqual(['10.244.1.2', 'fd00:10:0:1::2'])
    expect((await pod.exec(['ip', '-4', 'route'])).trim().split(/ *\n/)).toEqual([
      'default via 10.244.1.1 dev eth0',
      '10.244.0.0/16 via 10.244.1.1 dev eth0',
      '10.244.1.0/24 dev eth0 proto kernel scope link src 10.244.1.2',
    ])
    expect(await pod.exec(['ip', 'link', 'show', 'eth0'])).toContain('mtu 1430')
    expect(await addressesOf('cni0')).toEqual(['10.244.1.1/24', 'fd00:10:0:1::1/64'])
    expect(await pod.ping('10.244.1.1', { count: 1 })).toHaveLength(1)
    await pod.check()
    expect(runtime.reserved).toEqual(['10.244.1.2', 'fd00:10:0:1::2'])
    await pod.delete()
    expect(runtime.reserved).toEqual([])
    await expect(pod.exec(['ip', 'link', 'show', 'eth0'])).rejects.toThrow('does not exist')
  })

  it('adds no translation of addresses', async () => {
    write({ families: [v4], overlayMtu: 1450 })
    const pod = await runtime.add()
    expect(await host.exec(['iptables', '-t', 'nat', '-S'])).not.toContain('MASQUERADE')
    await pod.delete()
  })

  it("takes down a pod that flannel's plugin has made, and gives its address free", async () => {
    const delegate = {
      type: 'bridge',
      hairpinMode: true,
      isDefaultGateway: true,
      isGateway: true,
      ipMasq: false,
      mtu: 1450,
      ipam: {
        type: 'host-local',
        ranges: [[{ subnet: v4.subnet }]],
        routes: [{ dst: v4.network }],
      },
    }
    const theirs = { name: 'cbr0', cniVersion: '0.3.1', plugins: [delegate] }
    writeFileSync(join(host.directory, 'conflist'), JSON.stringify(theirs))
    const before = await runtime.add()
    write({ families: [v4], overlayMtu: 1450 })
    const after = await runtime.add()
    expect(runtime.reserved).toEqual([...before.addresses, ...after.addresses])
    expect(await after.ping(before.address(), { count: 1 })).toHaveLength(1)
    await runtime.delete(before, runtime.conflist)
    expect(runtime.reserved).toEqual(after.addresses)
    expect(await before.exec(['ip', 'link'])).not.toContain('eth0')
    await after.delete()
  })

  it('follows this node to another subnet and MTU, on the bridge that is there', async () => {
    write({ families: [v4], overlayMtu: 1450 })
    const old = await runtime.add()
    write({ families: [{ ...v4, subnet: parsePrefix('10.244.9.0/24') }], overlayMtu: 1400 })
    const pod = await runtime.add()
    expect(pod.addresses).toEqual(['10.244.9.2'])
    expect(await addressesOf('cni0')).toContain('10.244.9.1/24')
    expect(await pod.exec(['ip', 'link', 'show', 'eth0'])).toContain('mtu 1400')
    expect(await pod.ping('10.244.9.1', { count: 1 })).toHaveLength(1)
    await old.delete()
    await pod.delete()
  })
})
