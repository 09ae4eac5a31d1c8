import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed, overlayText } from '../support/overlay_bed.ts'
import type { Pod } from '../support/pod.ts'
import { sharedByTests } from '../support/shared_by_tests.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

/** The agent counts repairs less than 100 ms apart as one. */
const APART_MS = 120

/** What is done to h1 behind its agent's back; h2 is its only peer, at 10.244.2.0/24-like subnets read from the bed. */
const acts: Record<string, (facts: Facts) => string> = {
  'an FDB entry is deleted': ({ peer }) => `bridge fdb del ${peer.mac4} dev flannel.1 dst ${peer.ip4}`,
  'an FDB entry is led elsewhere': ({ peer }) =>
    `bridge fdb replace ${peer.mac4} dev flannel.1 dst 192.168.50.99 self permanent`,
  'an FDB entry gets a second destination': ({ peer }) =>
    `bridge fdb append ${peer.mac4} dev flannel.1 dst 192.168.50.99`,
  'an FDB entry leads to another UDP port': ({ peer }) =>
    `bridge fdb replace ${peer.mac4} dev flannel.1 dst ${peer.ip4} port 9999 self permanent`,
  'an FDB entry leads to another VNI': ({ peer }) =>
    `bridge fdb replace ${peer.mac4} dev flannel.1 dst ${peer.ip4} vni 99 self permanent`,
  'an FDB entry leads over another interface': ({ peer }) =>
    `bridge fdb replace ${peer.mac4} dev flannel.1 dst ${peer.ip4} via lo self permanent`,
  'a foreign FDB entry appears': () => 'bridge fdb append 02:ff:00:00:00:01 dev flannel.1 dst 192.168.50.99',
  'a neighbor is deleted': ({ peer }) => `ip neigh del ${peer.gateway4} dev flannel.1`,
  'a neighbor gets another MAC': ({ peer }) =>
    `ip neigh replace ${peer.gateway4} dev flannel.1 lladdr 02:ff:00:00:00:01 nud permanent`,
  'a neighbor is made reachable, no longer permanent': ({ peer }) =>
    `ip neigh replace ${peer.gateway4} dev flannel.1 lladdr ${peer.mac4} nud reachable`,
  'an IPv6 neighbor is deleted': ({ peer }) => `ip neigh del ${peer.gateway6} dev flannel-v6.1`,
  'a route is deleted': ({ peer }) => `ip route del ${peer.prefix4}`,
  'a route is led elsewhere on the device': ({ peer }) =>
    `ip route replace ${peer.prefix4} via 10.244.99.0 dev flannel.1 onlink`,
  'a route gets an MTU of its own': ({ peer }) =>
    `ip route replace ${peer.prefix4} via ${peer.gateway4} dev flannel.1 onlink mtu lock 100`,
  'an IPv6 route gets an MTU of its own': ({ peer }) =>
    `ip -6 route replace ${peer.prefix6} via ${peer.gateway6} dev flannel-v6.1 onlink mtu lock 1280`,
  'a route gets a nexthop object, which goes without a word': ({ peer }) =>
    `ip nexthop add id 9 via ${peer.gateway4} dev flannel.1 onlink; ip route replace ${peer.prefix4} nhid 9; sleep 1; ip nexthop del id 9`,
  'an IPv6 route is deleted': ({ peer }) => `ip -6 route del ${peer.prefix6} dev flannel-v6.1`,
  'a stale route appears on the device': () =>
    'ip route add 10.244.250.0/24 via 10.244.250.0 dev flannel.1 onlink',
  // The agent may be quicker than the command, which says so then.
  'all neighbors are flushed': () => 'ip neigh flush dev flannel.1 nud permanent || true',
  'all routes are flushed': () =>
    'ip route flush dev flannel.1; ip -6 route flush dev flannel-v6.1 proto boot || true',
  'the device is set down': () => 'ip link set flannel.1 down',
  'the device is set down and up again': () => 'ip link set flannel.1 down; ip link set flannel.1 up',
  'the IPv6 device is set down and up again': () =>
    'ip link set flannel-v6.1 down; ip link set flannel-v6.1 up',
  'the device gets another MAC': () => 'ip link set flannel.1 address 02:ff:00:00:00:09',
  'the device gets another MTU': () => 'ip link set flannel.1 mtu 1300',
  'the device loses its address': ({ own }) => `ip address del ${own.gateway4}/32 dev flannel.1`,
  'the device loses its IPv6 address': ({ own }) => `ip address del ${own.gateway6}/128 dev flannel-v6.1`,
  'the device gets a foreign address': () => 'ip address add 10.244.77.7/16 dev flannel.1',
  'the device is put into another network namespace, and back': () =>
    'ip netns add aside; ip link set flannel.1 netns aside; ip -n aside link set flannel.1 netns $$; ip netns del aside',
  'the device loses its carrier by protodown': () =>
    'ip link set flannel.1 protodown on protodown_reason 3 on',
  'the device is made a port of a bridge': () =>
    'ip link add aside type bridge; ip link set flannel.1 master aside; while ip link show flannel.1 | grep -q master; do sleep 0.1; done; ip link del aside',
  'the device learns': () => 'ip link set flannel.1 type vxlan id 1 learning',
  'the device sends from another address': () => 'ip link set flannel.1 type vxlan id 1 local 192.168.50.77',
  'the device is deleted': () => 'ip link del flannel.1',
  'both devices are deleted': () => 'ip link del flannel.1; ip link del flannel-v6.1',
  'the device is renamed': () =>
    'ip link set flannel.1 down; ip link set flannel.1 name other; ip link del other',
  'the device is recreated with another port': () =>
    'ip link del flannel.1; ip link add flannel.1 type vxlan id 1 dev eth0 dstport 4789 nolearning; ip link set flannel.1 up',
  // The kernel drops IPv6 addresses of an interface that is set down: the program that set it down puts them back.
  'the underlay is set down and up again': ({ own }) =>
    `ip link set eth0 down; ip link set eth0 up; ip address replace ${own.ip6}/64 dev eth0 nodad`,
}

interface Node {
  ip4: string
  ip6: string
  prefix4: string
  prefix6: string
  gateway4: string
  gateway6: string
  mac4: string
}
interface Facts {
  own: Node
  peer: Node
}

describe.skipIf(why !== undefined)('an agent whose kernel another program changes', () => {
  let overlay: OverlayBed
  let agents: Agent[]
  let h1: Host
  let pods: Pod[]
  let whole: string
  let facts: Facts

  sharedByTests(async () => {
    overlay = await overlayBed('drift', ['h1', 'h2', 'h3'])
    await overlay.configure()
    agents = await overlay.startAgents(['--resync=3600'])
    h1 = overlay.hosts[0] as Host
    pods = await Promise.all(overlay.hosts.map(host => host.pod()))
    await until(
      'all peers on h1',
      async () => (await overlayText(h1)).split('\n').filter(line => line.includes('onlink')).length === 4,
    )
    whole = await overlayText(h1)
    facts = { own: await node(h1), peer: await node(overlay.hosts[1] as Host) }
    return overlay
  })

  it.each(Object.entries(acts))('mends it without a full pass by the clock: %s', async (_, act) => {
    await h1.exec(['sh', '-c', act(facts)])
    await until('the overlay to be whole again', async () => (await overlayText(h1)) === whole, {
      otherwise: () => `it said ${agents[0]?.process.text().slice(-3000)}`,
    }).catch(async error => {
      expect(await overlayText(h1), String(error)).toBe(whole)
    })
    await reaches()
  })

  it.each([
    ['set down', 'ip link set flannel.1 down', /^link flannel\.1$/],
    ['given another MAC', 'ip link set flannel.1 address 02:ff:00:00:00:09', /^link flannel\.1$/],
    ['deleted', 'ip link del flannel.1', /^link flannel\.1$/],
    // What is gone already may fail to be deleted.
    ['flushed of neighbors', 'ip neigh flush dev flannel.1 nud permanent || true', /neighbor/],
  ])(
    'mends a device that is %s the twelfth time in a row as the first, and names that cause only',
    async (_, act, cause) => {
      // A contest over the device may have begun in a test before, and is named there.
      const named = (from = 0) =>
        (agents[0]?.log() ?? [])
          .slice(from)
          .filter(({ msg }) => msg.includes('another program keeps changing'))
          .map(({ entries }) => `${entries}`)
      const isNamed = () => named().some(entries => cause.test(entries))
      const before = agents[0]?.log().length ?? 0
      // For 3 s after a device was wrong, its entries do not count.
      for (let i = 0; i < 12 || (i < 100 && !isNamed()); i++) {
        await h1.exec(['sh', '-c', act])
        await until('the overlay to be whole again', async () => (await overlayText(h1)) === whole)
        await sleep(APART_MS)
      }
      expect(named()).toContainEqual(expect.stringMatching(cause))
      for (const entries of named(before)) expect(entries).toMatch(cause)
      expect(named(before).length).toBeLessThanOrEqual(1)
      await reaches()
    },
  )

  it("puts back the kernel's own route of the IPv6 address", async () => {
    const own = () =>
      h1.exec(['ip', '-6', 'route', 'show', 'dev', 'flannel-v6.1', 'proto', 'kernel', facts.own.gateway6])
    expect(await own()).not.toBe('')
    await h1.exec(['sh', '-c', 'ip -6 route flush dev flannel-v6.1 || true'])
    await until('that route', async () => (await own()) !== '')
    await until('the overlay to be whole again', async () => (await overlayText(h1)) === whole)
  })

  it('leaves a route of another program where ours was, names it, and puts ours back once it is gone', async () => {
    const theirs = `${facts.peer.prefix4} via 192.168.50.99 dev eth0`
    await h1.exec(['sh', '-c', `ip route replace ${theirs}`])
    const words = "another program's route (protocol 3) over veth eth0 stands there"
    await until('the agent to name it', () => agents[0]?.process.text().includes(words))
    expect(await h1.exec(['ip', 'route', 'show', facts.peer.prefix4])).toContain('via 192.168.50.99')
    await h1.exec(['ip', 'route', 'delete', facts.peer.prefix4])
    await until('the overlay to be whole again', async () => (await overlayText(h1)) === whole)
    await reaches()
  })

  const reaches = async () => {
    const [from, to] = pods
    if (from === undefined || to === undefined) throw new Error('there are three pods')
    for (const ip of to.addresses) expect(await from.ping(ip)).toHaveLength(3)
  }
})

async function node(host: Host): Promise<Node> {
  const env = host.subnetEnv()
  const prefix4 = (env.FLANNEL_SUBNET ?? '').replace('.1/24', '.0/24')
  const prefix6 = (env.FLANNEL_IPV6_SUBNET ?? '').replace('::1/64', '::/64')
  const link = JSON.parse(await host.exec(['ip', '-j', 'link', 'show', 'flannel.1'])) as [{ address: string }]
  return {
    ip4: host.address(),
    ip6: host.address('ipv6'),
    prefix4,
    prefix6,
    gateway4: prefix4.replace('/24', ''),
    gateway6: prefix6.replace('/64', ''),
    mac4: link[0].address,
  }
}
