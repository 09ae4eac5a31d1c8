import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed, overlayText } from '../support/overlay_bed.ts'
import { lostWhile } from '../support/pings.ts'
import type { Pod } from '../support/pod.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('an agent whose external interface changes', () => {
  let overlay: OverlayBed
  let agent: Agent
  let [h1, h2]: Host[] = []
  let pods: Pod[]
  let macs: string[]

  beforeEach(async () => {
    overlay = await overlayBed('underlay', ['h1', 'h2', 'h3'])
    await overlay.configure()
    ;[agent] = (await overlay.startAgents(['--resync=3600'])) as [Agent]
    ;[h1, h2] = overlay.hosts as [Host, Host]
    pods = await Promise.all(overlay.hosts.map(host => host.pod()))
    macs = await macsOf(first())
    await until('all to reach all', reachable)
  })
  afterEach(() => overlay.dispose())

  const first = () => h1 as Host
  const second = () => h2 as Host

  async function reachable(): Promise<boolean> {
    for (const pod of pods)
      for (const other of pods)
        for (const ip of pod === other ? [] : other.addresses)
          if ((await pod.ping(ip, { count: 1, timeoutSeconds: 0.3 })).length === 0) return false
    return true
  }
  /** The overlay of h1 is whole, and the pods of all hosts reach each other. */
  async function healed(): Promise<void> {
    await until('all pods to reach all again', reachable, {
      otherwise: () => agent.process.text().slice(-3000),
    })
    expect(await macsOf(first())).toEqual(macs)
    expect(agent.process.exit).toBeUndefined()
    await until('the node to be ready', async () => (await first().readyz()).status === 200)
  }
  const subnets = () => overlay.etcd.ctl('get', '--prefix', '--keys-only', '/coreos.com/network/subnets')
  const lease = async () =>
    await overlay.etcd.ctl('get', '--prefix', '/coreos.com/network/subnets', '-w', 'simple')

  it('set down for a while and up again', async () => {
    const whole = await overlayText(first())
    const text = await lease()
    await first().ip(['link set eth0 down'])
    await agent.logs(/Cannot choose an external interface/)
    await first().ip(['link set eth0 up', `address replace ${first().address('ipv6')}/64 dev eth0 nodad`])
    await healed()
    expect(await overlayText(first())).toBe(whole)
    expect(await lease()).toBe(text)
  })

  it('renumbered: published again, and tunnels start from the new address', async () => {
    const before = first().subnetEnv()
    await first().ip([
      'address delete 192.168.50.12/24 dev eth0',
      'address add 192.168.50.77/24 dev eth0',
      'address delete fd50::c/64 dev eth0',
      'address add fd50::77/64 dev eth0 nodad',
    ])
    await until('peers to lead there', async () => {
      const text = await overlayText(second())
      return text.includes('dst 192.168.50.77') && text.includes('dst fd50::77') && !text.includes('50.12')
    })
    await healed()
    expect(await lease()).toContain('"PublicIP":"192.168.50.77","PublicIPv6":"fd50::77"')
    expect(await first().exec(['ip', '-d', 'link', 'show', 'flannel.1'])).toContain(
      'local 192.168.50.77 dev eth0',
    )
    expect(first().subnetEnv()).toEqual(before)
    expect((await lease()).match(/PublicIP"/g)).toHaveLength(3)
  })

  it.each([
    ['IPv4', '192.168.50.12', '192.168.50.77', 24],
    ['IPv6', 'fd50::c', 'fd50::77', 64],
  ] as const)(
    'renumbered in %s alone: the other family loses nothing, the subnets stay',
    async (family, from, to, length) => {
      const before = first().subnetEnv()
      const keys = await subnets()
      const [one, two] = pods as [Pod, Pod, Pod]
      const other = two.addresses[family === 'IPv4' ? 1 : 0]
      if (other === undefined) throw new Error('a pod has two addresses')
      const lost = await lostWhile([[one, other]], async () => {
        // One command: an interface without an address of a family may lose its routes.
        await first().ip([
          `address add ${to}/${length} dev eth0 ${family === 'IPv6' ? 'nodad' : ''}`,
          `address delete ${from}/${length} dev eth0`,
          ...(family === 'IPv4' ? ['address replace 192.168.50.77/24 dev eth0'] : []),
        ])
        await until('peers to lead there', async () => {
          const text = await overlayText(second())
          return text.includes(`dst ${to} `) && !text.includes(`dst ${from} `)
        })
        await healed()
      })
      expect(lost).toEqual([])
      expect([await subnets(), first().subnetEnv()]).toEqual([keys, before])
    },
  )

  it('deleted, and recreated with another index', async () => {
    const whole = await overlayText(first())
    const text = await lease()
    await first().ip(['link delete eth0'])
    await agent.logs(/Cannot choose an external interface/)
    await overlay.lan.plug(first(), 'eth0')
    await first().ip([
      'link set eth0 up',
      'address add 192.168.50.12/24 dev eth0',
      'address add fd50::c/64 dev eth0 nodad',
    ])
    await healed()
    expect(await overlayText(first())).toBe(whole)
    expect(await lease()).toBe(text)
  })

  it('given another MTU: devices and subnet.env follow, pods that stand keep working', async () => {
    const text = await lease()
    await first().ip(['link set eth0 mtu 1400'])
    await until('subnet.env to follow', () => first().subnetEnv().FLANNEL_MTU === '1330')
    await until('the devices to follow', async () => {
      const links = await overlayText(first())
      return (
        links.includes('flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1350') && links.includes('mtu 1330')
      )
    })
    await healed()
    await first().ip(['link set eth0 mtu 1500'])
    await until('subnet.env to follow', () => first().subnetEnv().FLANNEL_MTU === '1430')
    await healed()
    expect(await lease()).toBe(text)
  })
})

async function macsOf(host: Host): Promise<string[]> {
  const links = JSON.parse(await host.exec(['ip', '-j', 'link', 'show', 'type', 'vxlan']))
  return links
    .map(({ ifname, address }: { ifname: string; address: string }) => `${ifname} ${address}`)
    .sort()
}
