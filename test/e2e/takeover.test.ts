import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { Monitor } from '../support/monitor.ts'
import { type OverlayBed, overlayBed, overlayText } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const folder = '/coreos.com/network/subnets'
/** The one subnet that it may have. */
const own = { SubnetMin: '10.244.1.0', SubnetMax: '10.244.1.0' }
const ipv4 = { Network: '10.244.0.0/16', ...own, Backend: { Type: 'vxlan' } }
const dualStack = {
  ...ipv4,
  EnableIPv6: true,
  IPv6Network: 'fd10:244::/48',
  IPv6SubnetLen: 64,
}

/** As flanneld v0.28 leaves a host whose lease is 10.244.1.0/24; .2 is a peer's, .9 was one's. */
const device4 = [
  'link add flannel.1 address c6:d2:00:00:00:01 mtu 1450 type vxlan id 1 local 192.168.50.12 dev eth0 dstport 8472 nolearning',
  'address add 10.244.1.0/32 dev flannel.1',
  'link set flannel.1 up',
]
const live4 = [
  'neigh replace 10.244.2.0 dev flannel.1 lladdr c6:d2:00:00:00:02 nud permanent',
  'route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
]
const stale4 = [
  'neigh replace 10.244.9.0 dev flannel.1 lladdr c6:d2:00:00:00:09 nud permanent',
  'route add 10.244.9.0/24 via 10.244.9.0 dev flannel.1 onlink',
]
const live6 = [
  'link add flannel-v6.1 address c6:d2:00:00:06:01 mtu 1430 type vxlan id 1 local fd50::c dev eth0 dstport 8472 nolearning',
  'address add fd10:244:0:1::/128 dev flannel-v6.1 nodad',
  'link set flannel-v6.1 up',
  'neigh replace fd10:244:0:2:: dev flannel-v6.1 lladdr c6:d2:00:00:06:02 nud permanent',
  'route add fd10:244:0:2::/64 via fd10:244:0:2:: dev flannel-v6.1 onlink',
]
const stale6 = [
  'neigh replace fd10:244:0:9:: dev flannel-v6.1 lladdr c6:d2:00:00:06:09 nud permanent',
  'route add fd10:244:0:9::/64 via fd10:244:0:9:: dev flannel-v6.1 onlink',
]

describe.skipIf(why !== undefined)('a host that flanneld has left', () => {
  let overlay: OverlayBed
  let host: Host

  beforeEach(async () => {
    overlay = await overlayBed('takeover', ['h1'])
    host = overlay.hosts[0] as Host
    // A device's IPv6 address would announce the end of its duplicate address detection later on.
    await host.sysctl({ 'ipv6/conf/default/accept_dad': 0, 'ipv6/conf/default/router_solicitations': 0 })
  })
  afterEach(() => overlay.dispose())

  const lease = async (key: string, value: string) => {
    const granted = await overlay.etcd.ctl('lease', 'grant', '80000')
    const id = /lease (\w+) granted/.exec(granted)?.[1] ?? ''
    await overlay.etcd.ctl('put', `--lease=${id}`, `${folder}/${key}`, value)
  }
  const leave = (text: string) => {
    mkdirSync(dirname(host.subnetFile), { recursive: true })
    writeFileSync(host.subnetFile, text)
  }
  const link = (name: string) => host.exec(['ip', '-d', 'link', 'show', name])
  const start = (flags: readonly string[] = []) =>
    host.startAgent({ endpoints: overlay.etcd.endpoints, flags })

  it('is taken over in place: nothing is announced but the end of what was stale', async () => {
    await overlay.configure(ipv4)
    const value =
      '{"PublicIP":"192.168.50.12","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:00:00:00:01"}}'
    await lease('10.244.1.0-24', value)
    await lease(
      '10.244.2.0-24',
      '{"PublicIP":"192.168.50.13","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:00:00:00:02"}}',
    )
    const file =
      'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n'
    leave(file)
    await host.ip([...device4, ...live4, ...stale4])
    await host.bridge([
      'fdb append c6:d2:00:00:00:02 dev flannel.1 dst 192.168.50.13 self permanent',
      // A peer that got another MAC: flanneld leaves the old row.
      'fdb append c6:d2:00:00:00:99 dev flannel.1 dst 192.168.50.13 self permanent',
      'fdb append c6:d2:00:00:00:09 dev flannel.1 dst 192.168.50.19 self permanent',
    ])
    const before = await link('flannel.1')
    const monitor = await Monitor.start(host)
    await start()
    expect((await monitor.heard()).sort()).toEqual(
      [
        'Deleted 10.244.9.0/24 via 10.244.9.0 dev flannel.1 onlink',
        // A neighbor that is deleted fails first.
        '10.244.9.0 dev flannel.1 FAILED',
        'Deleted 10.244.9.0 dev flannel.1 FAILED',
        'Deleted c6:d2:00:00:00:99 dev flannel.1 dst 192.168.50.13 self permanent',
        'Deleted 192.168.50.13 dev flannel.1 lladdr c6:d2:00:00:00:99 NOARP PERMANENT',
        'Deleted c6:d2:00:00:00:09 dev flannel.1 dst 192.168.50.19 self permanent',
        'Deleted 192.168.50.19 dev flannel.1 lladdr c6:d2:00:00:00:09 NOARP PERMANENT',
      ].sort(),
    )
    await monitor.stop()
    expect(await link('flannel.1')).toBe(before)
    expect(await overlay.etcd.ctl('get', '--print-value-only', `${folder}/10.244.1.0-24`)).toBe(`${value}\n`)
    expect(await host.exec(['cat', host.subnetFile])).toBe(file)
  })

  it('with both families likewise', async () => {
    await overlay.configure(dualStack)
    const data = (n: number) =>
      `"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:00:00:00:0${n}"},"BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:00:00:06:0${n}"}}`
    await lease(
      '10.244.1.0-24&fd10:244:0:1::-64',
      `{"PublicIP":"192.168.50.12","PublicIPv6":"fd50::c",${data(1)}`,
    )
    await lease(
      '10.244.2.0-24&fd10:244:0:2::-64',
      `{"PublicIP":"192.168.50.13","PublicIPv6":"fd50::d",${data(2)}`,
    )
    await host.ip([...device4, ...live4, ...live6, ...stale6])
    await host.bridge([
      'fdb append c6:d2:00:00:00:02 dev flannel.1 dst 192.168.50.13 self permanent',
      'fdb append c6:d2:00:00:06:02 dev flannel-v6.1 dst fd50::d self permanent',
    ])
    const monitor = await Monitor.start(host)
    await start()
    expect((await monitor.heard()).sort()).toEqual([
      'Deleted fd10:244:0:9:: dev flannel-v6.1 FAILED',
      'Deleted fd10:244:0:9::/64 via fd10:244:0:9:: dev flannel-v6.1 metric 1024 onlink pref medium',
      'fd10:244:0:9:: dev flannel-v6.1 FAILED',
    ])
    await monitor.stop()
  })

  it('keeps its MAC and its subnet also where its lease has run out', async () => {
    await overlay.configure(ipv4)
    leave(
      'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n',
    )
    await host.ip(device4)
    const before = await link('flannel.1')
    await start()
    expect(await link('flannel.1')).toBe(before)
    expect(await overlay.etcd.ctl('get', '--print-value-only', `${folder}/10.244.1.0-24`)).toContain(
      'c6:d2:00:00:00:01',
    )
  })

  it.each([
    ['host-gw', { Network: '10.244.0.0/16', Backend: { Type: 'host-gw' } }, '"BackendType":"host-gw"'],
    [
      'DirectRouting',
      { Network: '10.244.0.0/16', Backend: { Type: 'vxlan', DirectRouting: true } },
      '"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:00:00:00:02"}',
    ],
  ])(
    'with routes of its own through eth0 (%s): those to peers become ours, others are named and left alone',
    async (_, config, data) => {
      await overlay.configure(config)
      await lease('10.244.2.0-24', `{"PublicIP":"192.168.50.13","PublicIPv6":null,${data}}`)
      await host.ip([
        'route add 10.244.2.0/24 via 192.168.50.13 dev eth0',
        'route add 10.244.9.0/24 via 192.168.50.19 dev eth0',
        'route add 10.99.0.0/16 via 192.168.50.19 dev eth0',
      ])
      const agent = await start()
      await until('the route to be ours', async () =>
        (await host.routes()).includes('10.244.2.0/24 via 192.168.50.13 dev eth0 proto 117'),
      )
      expect((await host.routes()).filter(line => line.includes('via 192.168'))).toEqual([
        '10.99.0.0/16 via 192.168.50.19 dev eth0',
        '10.244.2.0/24 via 192.168.50.13 dev eth0 proto 117',
        '10.244.9.0/24 via 192.168.50.19 dev eth0',
      ])
      expect((await agent.logs(/lead to no peer/)).routes).toEqual([
        '10.244.9.0/24 via 192.168.50.19 dev eth0',
      ])

      // A peer that gets the subnet gets the route once the other one is out of its way: it could be an operator's.
      await lease(
        '10.244.9.0-24',
        `{"PublicIP":"192.168.50.14","PublicIPv6":null,${data.replace(':02', ':0e')}}`,
      )
      const says = await agent.logs(/the kernel refuses/)
      expect(JSON.stringify(says)).toContain(
        "another program's route (protocol 3) over veth eth0 stands there",
      )
      await host.ip(['route delete 10.244.9.0/24'])
      await until('the route of the peer', async () =>
        (await host.routes()).includes('10.244.9.0/24 via 192.168.50.14 dev eth0 proto 117'),
      )
      expect((await overlayText(host)).match(/10\.244\.9\.0/g)).toHaveLength(1)
    },
  )
})
