import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Agent } from '../../support/agent.ts'
import { whyNoBed } from '../../support/bed.ts'
import type { Host } from '../../support/host.ts'
import { type OverlayBed, overlayBed } from '../../support/overlay_bed.ts'
import { lostWhile, untilReached } from '../../support/pings.ts'
import type { Pod } from '../../support/pod.ts'
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
  const readyz = async () => (await first().readyz()).body
  const put = (key: string, value: string) => overlay.etcd.ctl('put', `${subnets}/${key}`, value)
  /** Not any line that names it: a lease with a public IP of another has one of its own. */
  const refusalIn = (lines: ReturnType<Agent['log']>, key: string) =>
    lines.find(({ level, msg, node }) => level === 'warn' && msg.startsWith('lease refused') && node === key)
  const refusal = (agent: Agent, key: string) =>
    until(`a line about ${key}`, () => refusalIn(agent.log(), key))

  /**
   * Puts a lease over a network that the host was just given, until the agent says that it refuses it: one that an agent
   * under load hears of before the kernel's word on the network is there first.
   */
  const refusedWhenPut = (agent: Agent, key: string, value: string) => {
    const before = agent.log().length
    return until(`a line about ${key}`, async () => {
      await put(key, value)
      const isSaid = () => refusalIn(agent.log().slice(before), key)
      const said = await until('a line', isSaid, { withinMs: 3_000 }).catch(() => undefined)
      if (said === undefined) await overlay.etcd.ctl('del', `${subnets}/${key}`)
      return said
    })
  }

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
    const waits = /waiting for a lease: out of subnets: 192\.168\.0\.0\/16 has 2 of length \/24/
    expect((await (h2 as Host).readyz()).body).toMatch(waits)
    const socket = `--local-socket=${(h2 as Host).localSocket}`
    const { stderr } = await (h2 as Host).attempt([process.execPath, 'dist/twill.js', 'status', socket])
    expect(stderr).toContain('this node waits for a lease: out of subnets: 192.168.0.0/16 has 2')
    expect(await first().ping((h2 as Host).address())).toHaveLength(3)
    expect(agent.process.exit).toBeUndefined()
  })

  it('that come later cut off no peer that is programmed, through a restart too; /readyz names both', async () => {
    await configure('192.168.100.0', '192.168.110.0')
    const [agent, other] = (await overlay.startAgents()) as [Agent, Agent]
    const [one, two] = (await Promise.all([first().pod(), (h2 as Host).pod()])) as [Pod, Pod]
    await untilReached(one, two.address())
    const subnet = two.address().replace(/\d+$/, '0/24')
    const peerRoute = `${subnet} via ${subnet.slice(0, -3)} dev flannel.1 onlink`
    const kernels = `${subnet} dev eth1 proto kernel scope link src ${subnet.replace('0/24', '200')}`
    const plug = [
      'link add eth1 type bridge',
      `address add ${subnet.replace('0/24', '200/24')} dev eth1`,
      'link set eth1 up',
    ]
    let again = agent
    const lost = await lostWhile([[one, two.address()]], async () => {
      await first().ip(plug)
      const said = await agent.logs(/though pods of other nodes had addresses there before/)
      expect([said.level, said.msg]).toEqual([
        'warn',
        expect.stringContaining(`this host has ${subnet}, which is connected to eth1, though`),
      ])
      expect(await readyz()).toContain('though pods of other nodes had addresses there before')
      expect(await first().routes()).toEqual(expect.arrayContaining([peerRoute, kernels]))
      await agent.stop()
      again = first().launchAgent({ endpoints: overlay.etcd.endpoints })
      await again.logs(/though pods of other nodes had addresses there before/)
    })
    expect(lost).toEqual([])

    // Where the host's network is there first, it has the addresses, and keeps them when it flaps.
    await first().ip(['link delete eth1'])
    await again.ready()
    await other.stop()
    const key = subnet.replace('/', '-')
    const value = await overlay.etcd.ctl('get', '--print-value-only', `${subnets}/${key}`)
    await overlay.etcd.ctl('del', `${subnets}/${key}`)
    await until('the peer to go', async () => !(await first().routes()).includes(peerRoute))
    await first().ip(plug)
    await refusedWhenPut(again, key, value.trim())
    expect((await first().routes()).filter(line => line.startsWith(subnet))).toEqual([kernels])
    await first().ip(['link delete eth1'])
    await until('the peer', async () => (await first().routes()).includes(peerRoute))
    await first().ip(plug)
    await until('the peer to go', async () => !(await first().routes()).includes(peerRoute))
    expect((await first().routes()).filter(line => line.startsWith(subnet))).toEqual([kernels])
  })

  it('that the node itself is reached by go before a peer that is programmed', async () => {
    await configure('192.168.100.0', '192.168.110.0')
    await put('192.168.80.0-24', peer('192.168.50.13', 7))
    const agent = await first().startAgent({ endpoints: overlay.etcd.endpoints })
    const peerRoute = '192.168.80.0/24 via 192.168.80.0 dev flannel.1 onlink'
    expect(await first().routes()).toContain(peerRoute)
    await first().ip(['address add 192.168.80.7/24 dev eth0'])
    await refusal(agent, '192.168.80.0-24')
    await until('the route of the peer to go', async () => !(await first().routes()).includes(peerRoute))
    expect(await first().routes()).toContain(
      '192.168.80.0/24 dev eth0 proto kernel scope link src 192.168.80.7',
    )
    await first().ip(['address delete 192.168.80.7/24 dev eth0'])
    await until('the route of the peer', async () => (await first().routes()).includes(peerRoute))
  })

  it('may hold the whole pod network: that is said once at start, and hosts beside it are reached as before', async () => {
    // 192.168.50.240/28 is left to the peer that is refused below.
    await overlay.configure({ Network: '192.168.50.128/25', SubnetLen: 28, SubnetMax: '192.168.50.224' })
    const [agent] = (await overlay.startAgents()) as [Agent]
    const said = agent
      .log()
      .filter(({ msg }) => msg.includes('192.168.50.128/25 lies inside 192.168.50.0/24'))
    expect(said.map(({ level }) => level)).toEqual(['warn'])
    const [one, two] = (await Promise.all([first().pod(), (h2 as Host).pod()])) as [Pod, Pod]
    await untilReached(one, two.address())
    expect(await lostWhile([[one, two.address()]])).toEqual([])
    expect(await first().ping((h2 as Host).address())).toHaveLength(3)
    // A host with an address in the pod network keeps that one address.
    await first().ip(['address add 192.168.50.250/24 dev eth0'])
    const refused = await refusedWhenPut(agent, '192.168.50.240-28', peer('192.168.50.13', 7))
    expect(JSON.stringify(refused)).toContain(
      "overlaps 192.168.50.250/32, which is this host's own address on eth0",
    )
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
    const routes = async () => (await first().routes()).filter(line => line.includes('flannel.1'))
    await until('the route to the good peer', async () => (await routes()).length > 0)
    expect(await routes()).toEqual(['10.244.200.0/24 via 10.244.200.0 dev flannel.1 onlink'])
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
