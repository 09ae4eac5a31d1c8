import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { bothWays, lostWhile } from '../support/pings.ts'
import type { Pod } from '../support/pod.ts'
import { sharedByTests } from '../support/shared_by_tests.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const folder = '/coreos.com/network/subnets'

describe.skipIf(why !== undefined)('a subnet stays with its node', () => {
  let overlay: OverlayBed
  let [h1, h2, h3]: Host[] = []
  let agents: Agent[]
  let pods: Pod[]

  sharedByTests(async () => {
    overlay = await overlayBed('own', ['h1', 'h2', 'h3'])
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    agents = await overlay.startAgents()
    ;[h1, h2, h3] = overlay.hosts
    pods = await Promise.all(overlay.hosts.map(host => host.pod()))
    await until('all peers', async () => (await pairs()).every(Boolean))
    return overlay
  })

  const host = (n: 1 | 2 | 3) => [h1, h2, h3][n - 1] as Host
  const pod = (n: 1 | 2 | 3) => pods[n - 1] as Pod
  const keyOf = (one: Host) => `${folder}/${(one.subnetEnv().FLANNEL_SUBNET ?? '').replace('.1/', '.0-')}`
  const held = async (key: string) => (await overlay.etcd.ctl('get', '--print-value-only', key)).trim()
  const ready = (one: Host) =>
    until(`${one.name} to be ready`, async () => (await one.readyz()).status === 200, {
      otherwise: () => agents.map(agent => agent.process.text().slice(-1500)).join('\n---\n'),
    })
  /** In both directions. */
  const noneLost = async (a: Pod, b: Pod, act?: () => Promise<unknown>) =>
    expect(await lostWhile(bothWays(a, b), act)).toEqual([])
  /** Whether a host's routes lead to the subnet of a key. */
  const leads = async (one: Host, key: string) =>
    (await one.routes()).some(line => line.startsWith(`${key.split('/').at(-1)?.replace('-', '/')} via `))
  const reaches = async (a: Pod, b: Pod) =>
    (await a.ping(b.address(), { count: 1, timeoutSeconds: 0.3 })).length === 1
  const pairs = () => Promise.all([reaches(pod(1), pod(2)), reaches(pod(1), pod(3)), reaches(pod(2), pod(3))])
  /** What a DHCP client's gratuitous ARP does: neighbors forget whose MAC had the address, and of this address alone. */
  const announce = (address: string) =>
    Promise.all(overlay.hosts.map(one => one.ip([`neigh flush to ${address} dev eth0`])))
  const keys = async () =>
    (await overlay.etcd.ctl('get', '--prefix', '--keys-only', folder)).split('\n').filter(Boolean)

  it('that takes over the address of a stopped node: it publishes the address, and the lease of the stopped node stays', async () => {
    const [own, other] = [keyOf(host(1)), keyOf(host(3))]
    const before = host(1).subnetEnv()
    await agents[2]?.kill9()
    await host(3).ip(['address del 192.168.50.14/24 dev eth0'])
    const left = await held(other)
    await host(1).ip(['address del 192.168.50.12/24 dev eth0', 'address add 192.168.50.14/24 dev eth0'])
    await announce('192.168.50.14')
    await until('the new address', async () => (await held(own)).includes('"192.168.50.14"'))
    await until('pods to reach each other', () => reaches(pod(2), pod(1)))
    await noneLost(pod(1), pod(2))
    expect(host(1).subnetEnv()).toEqual(before)
    expect(await held(other)).toBe(left)
    expect(await keys()).toHaveLength(3)
    await ready(host(1))

    // The other comes back under yet another address, with all that it remembers.
    await host(3).ip(['address add 192.168.50.15/24 dev eth0'])
    agents[2] = host(3).launchAgent({ endpoints: overlay.etcd.endpoints })
    await agents[2].ready()
    expect(keyOf(host(3))).toBe(other)
    expect(await held(other)).toContain('"192.168.50.15"')
    await until('all to reach all', async () => (await pairs()).every(Boolean))
    await noneLost(pod(3), pod(1))
    await host(1).ip(['address del 192.168.50.14/24 dev eth0', 'address add 192.168.50.12/24 dev eth0'])
    await announce('192.168.50.12')
    await until('all to reach all', async () => (await pairs()).every(Boolean))
    expect(await keys()).toHaveLength(3)
  })

  it('while a virtual IP moves between nodes, with an overlap and without: nothing is lost', async () => {
    const [before, own] = [await keys(), [host(1), host(2)].map(one => one.subnetEnv())]
    const vip = (verb: string, n: 1 | 2, length = 32) =>
      host(n).ip([`address ${verb} 192.168.50.100/${length} dev eth0`])
    await noneLost(pod(1), pod(2), async () => {
      for (const length of [32, 24]) {
        await vip('add', 1, length)
        await vip('add', 2, length)
        await vip('del', 1, length)
        await vip('add', 1, length)
        await vip('del', 2, length)
        await vip('del', 1, length)
      }
      // An agent that would follow it does so by then.
      await sleep(2_000)
    })
    expect(await keys()).toEqual(before)
    expect([host(1), host(2)].map(one => one.subnetEnv())).toEqual(own)
    for (const n of [1, 2] as const) await ready(host(n))
    expect(await held(keyOf(host(1)))).toContain('"192.168.50.12"')
  })

  it('while a virtual IP is on two nodes for two seconds, as keepalived leaves it after a split', async () => {
    const [before, own] = [await overlay.etcd.ctl('get', '--prefix', folder), keyOf(host(1))]
    await noneLost(pod(1), pod(2), async () => {
      await host(1).ip(['address add 192.168.50.100/24 dev eth0'])
      await host(2).ip(['address add 192.168.50.100/24 dev eth0'])
      await sleep(2_000)
      await host(1).ip(['address del 192.168.50.100/24 dev eth0'])
      await sleep(1_000)
    })
    await host(2).ip(['address del 192.168.50.100/24 dev eth0'])
    expect(await overlay.etcd.ctl('get', '--prefix', folder)).toBe(before)
    expect(keyOf(host(1))).toBe(own)
    for (const n of [1, 2] as const) await ready(host(n))
  })

  it('that has a virtual IP for its public IP, which moves to another node: peers follow the address that it has', async () => {
    const [before, own] = [await keys(), [host(2), host(3)].map(keyOf)]
    const lives = [1, 2].map(i => agents[i])
    await Promise.all(lives.map(agent => agent?.stop()))
    await host(2).ip(['address add 192.168.50.100/24 dev eth0'])
    const flags = ['--iface-regex=192.168.50.100', '--iface-regex=eth0', '--underlay-patience=500ms']
    for (const i of [1, 2] as const)
      agents[i] = await host((i + 1) as 2 | 3).startAgent({
        endpoints: overlay.etcd.endpoints,
        iface: '',
        flags,
      })
    await until('the virtual IP', async () => (await held(own[0] ?? '')).includes('"192.168.50.100"'))
    await announce('192.168.50.100')
    await until('all to reach all', async () => (await pairs()).every(Boolean))
    const moved = async () => {
      // Two seconds of overlap, then it is on the other alone.
      await host(3).ip(['address add 192.168.50.100/24 dev eth0'])
      await sleep(2_000)
      await host(2).ip(['address del 192.168.50.100/24 dev eth0'])
      await announce('192.168.50.100')
      await until('its own address', async () => (await held(own[0] ?? '')).includes('"192.168.50.13"'))
      await until('all to reach all', async () => (await pairs()).every(Boolean))
    }
    expect(await lostWhile([[pod(1), pod(3).address()]], moved)).toEqual([])
    await noneLost(pod(1), pod(2))
    expect([await keys(), [host(2), host(3)].map(keyOf)]).toEqual([before, own])
    await host(3).ip(['address del 192.168.50.100/24 dev eth0'])
    for (const i of [1, 2] as const) {
      await agents[i]?.stop()
      agents[i] = await host((i + 1) as 2 | 3).startAgent({ endpoints: overlay.etcd.endpoints })
    }
  })

  it('while its key is another’s: /readyz says so for as long as etcd holds it, and pods continue', async () => {
    const own = keyOf(host(1))
    const ours = await held(own)
    const foreign = ours
      .replace('192.168.50.12', '192.168.50.99')
      .replace(/"VtepMAC":"[^"]*"/, '"VtepMAC":"02:00:00:00:00:99"')
    await overlay.etcd.ctl('put', own, foreign)
    await until('h1 to be not ready', async () => (await host(1).readyz()).status === 503)
    const follows = () => host(2).exec(['ip', 'neigh', 'show', 'dev', 'flannel.1', 'nud', 'permanent'])
    await until('the peer to follow the key', async () =>
      (await follows()).includes('lladdr 02:00:00:00:00:99'),
    )
    // Longer than any timer that once called it settled.
    for (const end = Date.now() + 6_000; Date.now() < end; await sleep(250))
      expect((await host(1).readyz()).body).toContain('192.168.50.99')
    expect(await held(own)).toBe(foreign)
    await overlay.etcd.ctl('del', own)
    await ready(host(1))
    expect(await held(own)).toBe(ours)
    await until('the peer to follow', () => reaches(pod(2), pod(1)))
    await noneLost(pod(1), pod(2))
  })

  it('through a restart while an older key of another host has its public IP', async () => {
    const own = keyOf(host(1))
    await agents[0]?.stop()
    // Of an old life of the address: its key is older than this node's, and its host may be there still.
    const older = `${folder}/10.244.250.0-24`
    const ours = await held(own)
    await overlay.etcd.ctl('del', own)
    // What holds before a peer has heard of it tells nothing: only a peer that has lost the way can have found it again.
    await until('the peer to lose the way', async () => !(await leads(host(2), own)))
    const foreign = ours.replace(/"VtepMAC":"[^"]*"/, '"VtepMAC":"02:00:00:00:00:98"')
    await overlay.etcd.ctl('put', older, foreign)
    await overlay.etcd.ctl('put', own, ours)
    await until('the peer to follow', () => reaches(pod(2), pod(1)))
    const before = host(1).subnetEnv()
    await noneLost(pod(1), pod(2), async () => {
      agents[0] = await host(1).startAgent({ endpoints: overlay.etcd.endpoints })
    })
    expect([keyOf(host(1)), host(1).subnetEnv()]).toEqual([own, before])
    expect([await held(own), await held(older)]).toEqual([ours, foreign])
    await overlay.etcd.ctl('del', older)
  })

  it('through a restart without its key, its cache and subnet.env, where its device is there', async () => {
    const own = keyOf(host(1))
    const before = host(1).subnetEnv()
    await agents[0]?.stop()
    await overlay.etcd.ctl('del', own)
    await until('the peer to lose the way', async () => !(await leads(host(2), own)))
    for (const file of [host(1).subnetFile, join(host(1).directory, 'leases.json')]) rmSync(file)
    const again = host(1).launchAgent({ endpoints: overlay.etcd.endpoints })
    agents[0] = again
    await again.ready()
    expect(host(1).subnetEnv()).toEqual(before)
    await until('the peer to follow', () => reaches(pod(2), pod(1)))
    await noneLost(pod(1), pod(2))
    // Its own pods are no network of the host's that would stand in the way.
    expect(again.log().filter(({ level }) => level === 'warn')).toEqual([])
  })

  it('and a second host with its public IP gets another: each names the other', async () => {
    const own = keyOf(host(1))
    await agents[2]?.stop()
    const h4 = await overlay.bed.host('h4', overlay.lan)
    const twin = h4.launchAgent({ endpoints: overlay.etcd.endpoints, flags: ['--public-ip=192.168.50.12'] })
    await until(
      'h4 to name h1',
      async () => (await h4.readyz()).body.includes('another host has our public IP'),
      {
        otherwise: () => twin.process.text(),
      },
    )
    const mac = /VtepMAC":"([^"]*)"/.exec(await held(own))?.[1] ?? 'none'
    expect((await h4.readyz()).body).toContain(
      `${(own.split('/').at(-1) ?? '').replace('-', '/')} at 192.168.50.12, VTEP MAC ${mac}`,
    )
    await until('h1 to name h4', async () =>
      (await host(1).readyz()).body.includes('another host has our public IP'),
    )
    expect(new Set(await keys()).size).toBe(4)
    expect(keyOf(host(1))).toBe(own)
    await noneLost(pod(1), pod(2))
    await twin.stop()
    await overlay.etcd.ctl(
      'del',
      (await keys()).find(key => ![own, keyOf(host(2)), keyOf(host(3))].includes(key)) ?? '',
    )
    await ready(host(1))
    agents[2] = await host(3).startAgent({ endpoints: overlay.etcd.endpoints })
  })

  it('unless etcd holds it for another node at the start: the agent warns, and /readyz names the bridge that has the old subnet', async () => {
    const own = keyOf(host(1))
    await agents[0]?.stop()
    const taken = (await held(own))
      .replace('192.168.50.12', '192.168.50.99')
      .replace(/"VtepMAC":"[^"]*"/, '"VtepMAC":"02:00:00:00:00:99"')
    await overlay.etcd.ctl('put', own, taken)
    const before = host(1).subnetEnv().FLANNEL_SUBNET ?? ''
    // Without the cache, by which a node starts where etcd is slow to answer.
    const again = host(1).launchAgent({ endpoints: overlay.etcd.endpoints, flags: ['--cache-file=none'] })
    agents[0] = again
    await again.logs(/this node's subnet was .* and is .* now: pods made before keep addresses/)
    await until(
      'the bridge to be named',
      async () => (await host(1).readyz()).body.includes(`bridge cni0 still has ${before}`),
      { otherwise: () => again.process.text() },
    )
    await host(1).ip([`address del ${before} dev cni0`])
    await ready(host(1))
    expect(await held(own)).toBe(taken)
  })
})
