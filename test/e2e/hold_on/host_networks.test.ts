import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Agent } from '../../support/agent.ts'
import { whyNoBed } from '../../support/bed.ts'
import type { Host } from '../../support/host.ts'
import { type OverlayBed, overlayBed } from '../../support/overlay_bed.ts'
import { until } from '../../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const subnets = '/coreos.com/network/subnets'
const peer = (publicIp: string, n: number) =>
  `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:0${n}"}}`

/** The pod network holds the underlay, as 10.0.0.0/8 does on hosts with addresses in 10.0.5.0/24. */
describe.skipIf(why !== undefined)('the networks that the host lives on', () => {
  let overlay: OverlayBed
  let [h1, h2]: Host[] = []
  beforeEach(async () => {
    overlay = await overlayBed('host', ['h1', 'h2'])
    ;[h1, h2] = overlay.hosts as [Host, Host]
  })
  afterEach(() => overlay.dispose())

  const first = () => h1 as Host
  const configure = (min: string, max: string) =>
    overlay.configure({ Network: '192.168.0.0/16', SubnetLen: 24, SubnetMin: min, SubnetMax: max })
  const put = (key: string, value: string) => overlay.etcd.ctl('put', `${subnets}/${key}`, value)
  const refusal = (agent: Agent, key: string) =>
    until(`a line about ${key}`, () =>
      agent.log().find(line => line.level === 'warn' && JSON.stringify(line).includes(`"${key}`)),
    )

  it('are never programmed over by a lease, and both prefixes are named once at start', async () => {
    await configure('192.168.100.0', '192.168.110.0')
    const connected = '192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.12'
    await first().ip([
      'link add eth1 type bridge',
      'address add 192.168.60.5/26 dev eth1',
      'link set eth1 up',
      'route add 192.168.70.0/23 via 192.168.50.1 proto static',
    ])
    const before = await first().routes()
    expect(before).toContain(connected)
    await put('192.168.50.0-24', peer('192.168.51.2', 2))
    const agent = await first().startAgent({ endpoints: overlay.etcd.endpoints })
    await put('192.168.50.0-26', peer('192.168.51.3', 3))
    await put('192.168.60.0-24', peer('192.168.51.4', 4))
    await put('192.168.60.0-28', peer('192.168.51.5', 5))
    await put('192.168.71.0-24', peer('192.168.51.6', 6))
    await put('192.168.80.0-24', peer('192.168.50.13', 7))
    const good = '192.168.80.0/24 via 192.168.80.0 dev flannel.1 onlink'
    await until('the good peer', async () => (await first().routes()).includes(good))
    for (const key of ['192.168.50.0-24', '192.168.50.0-26'])
      expect(JSON.stringify(await refusal(agent, key))).toContain(
        'overlaps 192.168.50.0/24, which is connected to eth0',
      )
    for (const key of ['192.168.60.0-24', '192.168.60.0-28'])
      expect(JSON.stringify(await refusal(agent, key))).toContain(
        'overlaps 192.168.60.0/26, which is connected to eth1',
      )
    expect(JSON.stringify(await refusal(agent, '192.168.71.0-24'))).toContain(
      'overlaps 192.168.70.0/23, which is routed via 192.168.50.1 on eth0',
    )
    expect((await first().routes()).filter(line => line !== good)).toEqual(before)
    expect(await first().ping((h2 as Host).address())).toHaveLength(3)
    const said = agent.log().filter(({ msg }) => msg.startsWith('the pod network 192.168.0.0/16 overlaps'))
    expect(said.map(({ msg }) => msg)).toEqual([
      expect.stringContaining(
        'overlaps 192.168.50.0/24, which is connected to eth0; 192.168.60.0/26, which is connected to eth1; 192.168.70.0/23, which is routed via 192.168.50.1 on eth0: no subnet',
      ),
    ])
  })

  it('are never chosen for a node, and stay when the network has nothing else', async () => {
    await configure('192.168.49.0', '192.168.50.0')
    const agent = await first().startAgent({ endpoints: overlay.etcd.endpoints })
    expect(first().subnetEnv().FLANNEL_SUBNET).toBe('192.168.49.1/24')
    const second = (h2 as Host).launchAgent({ endpoints: overlay.etcd.endpoints })
    await second.logs(/out of subnets/)
    expect(await first().ping((h2 as Host).address())).toHaveLength(3)
    expect(agent.process.exit).toBeUndefined()
  })

  it('that appear later push a peer out, and let it in again when they are gone', async () => {
    await configure('192.168.100.0', '192.168.110.0')
    await put('192.168.80.0-24', peer('192.168.50.13', 7))
    const agent = await first().startAgent({ endpoints: overlay.etcd.endpoints })
    const peerRoute = '192.168.80.0/24 via 192.168.80.0 dev flannel.1 onlink'
    expect(await first().routes()).toContain(peerRoute)
    await first().ip([
      'link add eth1 type bridge',
      'address add 192.168.80.7/24 dev eth1',
      'link set eth1 up',
    ])
    await refusal(agent, '192.168.80.0-24')
    await until('the route of the peer to go', async () => !(await first().routes()).includes(peerRoute))
    expect(await first().routes()).toContain(
      '192.168.80.0/24 dev eth1 proto kernel scope link src 192.168.80.7',
    )
    await first().ip(['link delete eth1'])
    await until('the route of the peer', async () => (await first().routes()).includes(peerRoute))
  })

  it('decide which public IP can be a node: neither the edge of a network, nor this host, nor a pod', async () => {
    await overlay.configure({ Network: '10.244.0.0/16' })
    await first().ip(['address add 192.168.50.200/32 dev eth0'])
    const agent = await first().startAgent({ endpoints: overlay.etcd.endpoints })
    const bad: Record<string, [string, string]> = {
      '10.244.202.0-24': ['192.168.50.0', 'is the network address of 192.168.50.0/24'],
      '10.244.203.0-24': ['192.168.50.255', 'is the broadcast address of 192.168.50.0/24'],
      '10.244.204.0-24': ['192.168.50.200', 'is an address of this host'],
      '10.244.205.0-24': ['10.244.77.7', 'lies in the pod network 10.244.0.0/16'],
    }
    await put('10.244.200.0-24', peer('240.0.0.9', 8))
    for (const [key, [ip]] of Object.entries(bad)) await put(key, peer(ip, Number(key.slice(9, 10)) % 10))
    for (const [key, [, reason]] of Object.entries(bad))
      expect(JSON.stringify(await refusal(agent, key))).toContain(reason)
    const routes = (await first().routes()).filter(line => line.includes('flannel.1'))
    expect(routes).toEqual(['10.244.200.0/24 via 10.244.200.0 dev flannel.1 onlink'])
  })

  it.each(['192.168.50.255', '10.244.77.7', '127.0.0.1', '255.255.255.255'])(
    'refuse %s as own public IP before it is published',
    async ip => {
      await overlay.configure({ Network: '10.244.0.0/16' })
      const agent = first().launchAgent({ endpoints: overlay.etcd.endpoints, flags: [`--public-ip=${ip}`] })
      expect((await agent.process.exited).code).toBe(1)
      expect(agent.process.text()).toContain(`Cannot publish ${ip} as this node's public IP: it `)
      expect(await overlay.etcd.ctl('get', '--prefix', subnets)).toBe('')
    },
  )
})
