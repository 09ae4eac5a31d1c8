import { describe, expect, it } from 'vitest'
import type { Agent } from '../../support/agent.ts'
import { whyNoBed } from '../../support/bed.ts'
import type { Host } from '../../support/host.ts'
import { type OverlayBed, overlayBed } from '../../support/overlay_bed.ts'
import { lostWhile, untilReached } from '../../support/pings.ts'
import type { Pod } from '../../support/pod.ts'
import { sharedByTests } from '../../support/shared_by_tests.ts'
import { until } from '../../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const subnets = '/coreos.com/network/subnets'

describe.skipIf(why !== undefined)('a peer that works is not cut off by', () => {
  let overlay: OverlayBed
  let [h1, h2]: Host[] = []
  let agent: Agent
  let one: Pod
  let two: Pod
  let mac: string
  sharedByTests(async () => {
    overlay = await overlayBed('peers', ['h1', 'h2'])
    ;[h1, h2] = overlay.hosts as [Host, Host]
    await overlay.configure({ Network: '10.244.0.0/16', SubnetMin: '10.244.10.0', SubnetMax: '10.244.20.0' })
    ;[agent] = (await overlay.startAgents()) as [Agent]
    ;[one, two] = (await Promise.all(overlay.hosts.map(host => host.pod()))) as [Pod, Pod]
    await untilReached(one, two.address())
    const link = await (h2 as Host).exec(['ip', 'link', 'show', 'flannel.1'])
    mac = /link\/ether (\S+)/.exec(link)?.[1] ?? ''
    return overlay
  })

  const first = () => h1 as Host
  const value = (ip: string, vtep: string) =>
    `{"PublicIP":"${ip}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${vtep}"}}`
  const put = (key: string, ip: string, vtep: string) =>
    overlay.etcd.ctl('put', `${subnets}/${key}`, value(ip, vtep))
  const routes = async (subnet: string) =>
    (await first().routes()).filter(line => line.startsWith(`${subnet} via`))

  const lost = (act: () => Promise<unknown>) => lostWhile([[one, two.address()]], act)

  it('a lease that the same host left under another name, neither when it comes nor when it goes', async () => {
    const missing = await lost(async () => {
      await put('10.244.200.0-24', '192.168.50.13', mac)
      await until('it to be programmed', async () => (await routes('10.244.200.0/24')).length === 1)
      await overlay.etcd.ctl('del', `${subnets}/10.244.200.0-24`)
      await until('it to be removed', async () => (await routes('10.244.200.0/24')).length === 0)
    })
    expect(missing).toEqual([])
  })

  it('a second lease with its public IP: both are programmed, and that is said once', async () => {
    const missing = await lost(async () => {
      await put('10.244.201.0-24', '192.168.50.13', '02:00:00:00:00:01')
      await until('it to be programmed', async () => (await routes('10.244.201.0/24')).length === 1)
      await put('10.244.202.0-24', '192.168.50.13', '02:00:00:00:00:02')
      await until('the next', async () => (await routes('10.244.202.0/24')).length === 1)
    })
    expect(missing).toEqual([])
    await agent.logs(/^several leases have one public IP/)
    const said = agent.log().filter(({ msg }) => msg.startsWith('several leases have one public IP'))
    // Once for this case, and once for the one before where that ended in between and stood long enough to be said.
    expect(said.length).toBeLessThanOrEqual(2)
    for (const { level, publicIp } of said) expect([level, publicIp]).toEqual(['warn', '192.168.50.13'])
  })

  it('a host that starts with its VTEP MAC: that one says on /readyz whose the MAC is', async () => {
    const h3 = await overlay.bed.host('h3', overlay.lan)
    await h3.ip([
      `link add flannel.1 address ${mac} type vxlan id 1 dstport 8472 local ${h3.address()} dev eth0 nolearning`,
    ])
    let third: Agent | undefined
    const missing = await lost(async () => {
      third = h3.launchAgent({ endpoints: overlay.etcd.endpoints })
      await until('h3 to name h2', async () => (await h3.readyz()).body.includes((h2 as Host).address()), {
        otherwise: () => third?.process.text().slice(-3000) ?? '',
      })
    })
    expect(missing).toEqual([])
    expect((await first().readyz()).status).toBe(200)
    expect((await (h2 as Host).exec(['ip', 'link', 'show', 'flannel.1'])).includes(mac)).toBe(true)
    await third?.stop()
  })

  it('a lease with its VTEP MAC at another address, which is refused and named', async () => {
    const missing = await lost(async () => {
      await put('10.244.203.0-24', '192.168.50.99', mac)
      await until('the refusal', () =>
        agent.log().find(line => line.node === '10.244.203.0-24' && line.level === 'warn'),
      )
    })
    expect(missing).toEqual([])
    expect(JSON.stringify(agent.log())).toMatch(/it asks for fdb \S+ dev flannel\.1 dst 192\.168\.50\.99/)
    expect((await first().readyz()).status).toBe(200)
  })
})
