import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import type { Namespace } from '../support/namespace.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import type { Pod } from '../support/pod.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

interface Statistics {
  readonly stats64: Readonly<Record<'rx' | 'tx', { readonly packets: number }>>
}

describe.skipIf(why !== undefined)('a tunnel with --tunnel-filter', () => {
  let overlay: OverlayBed
  let hosts: readonly Host[]
  let agents: readonly Agent[]
  let pods: readonly Pod[]
  let stranger: Host
  const [target, peer] = [() => hosts[0] as Host, () => hosts[1] as Host]

  beforeAll(async () => {
    overlay = await overlayBed('filter', ['h1', 'h2', 'h3'])
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    hosts = overlay.hosts.slice(0, 2)
    stranger = overlay.hosts[2] as Host
    const flags = ['--tunnel-filter', '--iptables-resync=1']
    const endpoints = overlay.etcd.endpoints
    agents = await Promise.all(hosts.map(host => host.startAgent({ endpoints, flags })))
    await Promise.all(agents.map(agent => agent.logs(/tunnel filter written/)))
    pods = await Promise.all(hosts.map(host => host.pod()))
    await until('the pods to reach each other', async () => await reaches())
  })
  afterAll(() => overlay?.dispose())

  const reaches = async () => {
    const answer = await pods[1]?.exec(['ping', '-c1', '-W1', pods[0]?.address() ?? '']).catch(() => '')
    return answer?.includes('1 received') ?? false
  }

  /** Packets that came out of h1's tunnel. */
  const received = async () => {
    const [link] = JSON.parse(await target().exec(['ip', '-j', '-s', 'link', 'show', 'flannel.1']))
    return (link as Statistics).stats64.rx.packets
  }

  /** Sends three pings in VXLAN to h1, from that address; how many packets came out there. */
  const sneaks = async (from: Namespace, local: string): Promise<number> => {
    const [device] = JSON.parse(await target().exec(['ip', '-j', 'link', 'show', 'flannel.1']))
    const mac = (device as { address: string }).address
    await from.ip([
      `link add sneak type vxlan id 1 local ${local} remote ${target().address()} dstport 8472 nolearning`,
      'address add 10.244.255.9/32 dev sneak',
      'link set sneak up',
      'route add 10.244.254.0/24 dev sneak',
      `neigh add 10.244.254.1 lladdr ${mac} dev sneak`,
    ])
    const before = await received()
    // The pings are never answered, so that ping ends with an error. What counts is that they were sent.
    await from.attempt(['ping', '-c3', '-i0.1', '-W1', '10.244.254.1'])
    const [sneak] = JSON.parse(await from.exec(['ip', '-j', '-s', 'link', 'show', 'sneak']))
    expect((sneak as Statistics).stats64.tx.packets).toBeGreaterThanOrEqual(3)
    await from.ip(['link delete sneak'])
    return (await received()) - before
  }

  const table = () => target().exec(['nft', 'list', 'table', 'inet', 'twill-flannel.1'])

  it('passes what peers send', async () => {
    expect(await reaches()).toBe(true)
    expect(await table()).toContain(peer().address())
  })

  it('drops what a stranger on the underlay sends', async () => {
    expect(await sneaks(stranger, stranger.address())).toBe(0)
  })

  it('drops what a pod sends, by its own address and in a peer’s name', async () => {
    const pod = pods[0] as Pod
    await pod.ip([`address add ${peer().address()}/32 dev lo`])
    for (const local of [pod.address(), peer().address()])
      expect([local, await sneaks(pod, local)]).toEqual([local, 0])
  })

  it('is put back where another program flushes it', async () => {
    await target().exec(['nft', 'flush', 'ruleset'])
    await until('the filter to be back', async () =>
      (await table().catch(() => '')).includes(peer().address()),
    )
    expect(await sneaks(stranger, stranger.address())).toBe(0)
    expect(await reaches()).toBe(true)
  })

  it('lets a peer in as soon as it has joined, and not once it has left', async () => {
    const joined = await stranger.startAgent({ endpoints: overlay.etcd.endpoints })
    await until('the joined peer', async () => (await table()).includes(stranger.address()))
    const before = await received()
    await until('it to reach a pod', async () => (await stranger.ping(pods[0]?.address() ?? '')).length === 3)
    expect(await received()).toBeGreaterThan(before)
    await joined.stop()
    await stranger.ip(['link delete flannel.1'])
    const { FLANNEL_SUBNET = '' } = stranger.subnetEnv()
    const key = `${FLANNEL_SUBNET.replace('.1/', '.0-')}`
    await overlay.etcd.ctl('del', `/coreos.com/network/subnets/${key}`)
    await until('the peer to be gone', async () => !(await table()).includes(stranger.address()))
  })

  it('is removed by an agent that runs without it', async () => {
    await agents[0]?.stop()
    const without = await target().startAgent({ endpoints: overlay.etcd.endpoints })
    await without.logs(/tunnel filter removed/)
    await expect(table()).rejects.toThrow('No such file or directory')
    expect(await sneaks(stranger, stranger.address())).toBeGreaterThan(0)
    const pod = pods[0] as Pod
    for (const local of [pod.address(), peer().address()])
      expect(await sneaks(pod, local), local).toBeGreaterThan(0)
  })
})
