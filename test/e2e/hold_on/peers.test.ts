import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Agent, healthPort } from '../../support/agent.ts'
import { whyNoBed } from '../../support/bed.ts'
import type { Host } from '../../support/host.ts'
import { type OverlayBed, overlayBed } from '../../support/overlay_bed.ts'
import type { Pod } from '../../support/pod.ts'
import { until } from '../../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const subnets = '/coreos.com/network/subnets'
const pings = 1_500

describe.skipIf(why !== undefined)('a peer that works is not cut off by', () => {
  let overlay: OverlayBed
  let [h1, h2]: Host[] = []
  let agent: Agent
  let one: Pod
  let two: Pod
  let mac: string
  beforeAll(async () => {
    overlay = await overlayBed('peers', ['h1', 'h2'])
    ;[h1, h2] = overlay.hosts as [Host, Host]
    await overlay.configure({ Network: '10.244.0.0/16', SubnetMin: '10.244.10.0', SubnetMax: '10.244.20.0' })
    ;[agent] = (await overlay.startAgents()) as [Agent]
    ;[one, two] = (await Promise.all(overlay.hosts.map(host => host.pod()))) as [Pod, Pod]
    await until('the pods to reach each other', async () => (await one.ping(two.address())).length === 3)
    const link = await (h2 as Host).exec(['ip', 'link', 'show', 'flannel.1'])
    mac = /link\/ether (\S+)/.exec(link)?.[1] ?? ''
  })
  afterAll(() => overlay.dispose())

  const first = () => h1 as Host
  const value = (ip: string, vtep: string) =>
    `{"PublicIP":"${ip}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${vtep}"}}`
  const put = (key: string, ip: string, vtep: string) =>
    overlay.etcd.ctl('put', `${subnets}/${key}`, value(ip, vtep))
  const routes = async (subnet: string) =>
    (await first().routes()).filter(line => line.startsWith(`${subnet} via`))

  /** How many of the pings between the pods come back while `act` happens. */
  const answered = async (act: () => Promise<unknown>) => {
    const answers = one.ping(two.address(), { count: pings, intervalSeconds: 0.001 })
    await act()
    return (await answers).length
  }

  it('a lease that the same host left under another name, neither when it comes nor when it goes', async () => {
    const count = await answered(async () => {
      await put('10.244.200.0-24', '192.168.50.13', mac)
      await until('it to be programmed', async () => (await routes('10.244.200.0/24')).length === 1)
      await overlay.etcd.ctl('del', `${subnets}/10.244.200.0-24`)
      await until('it to be removed', async () => (await routes('10.244.200.0/24')).length === 0)
    })
    expect(count).toBe(pings)
  })

  it('a second lease with its public IP: both are programmed, and that is said once', async () => {
    const count = await answered(async () => {
      await put('10.244.201.0-24', '192.168.50.13', '02:00:00:00:00:01')
      await until('it to be programmed', async () => (await routes('10.244.201.0/24')).length === 1)
      await put('10.244.202.0-24', '192.168.50.13', '02:00:00:00:00:02')
      await until('the next', async () => (await routes('10.244.202.0/24')).length === 1)
    })
    expect(count).toBe(pings)
    const said = agent.log().filter(({ msg }) => msg.startsWith('several leases have one public IP'))
    // Once for this case and once for the one before, which ended in between.
    expect(said.map(({ level, publicIp }) => [level, publicIp])).toEqual([
      ['warn', '192.168.50.13'],
      ['warn', '192.168.50.13'],
    ])
  })

  it('a lease with its VTEP MAC at another address, which is refused and named', async () => {
    const count = await answered(async () => {
      await put('10.244.203.0-24', '192.168.50.99', mac)
      await until('the refusal', () =>
        agent.log().find(line => line.node === '10.244.203.0-24' && line.level === 'warn'),
      )
    })
    expect(count).toBe(pings)
    expect(JSON.stringify(agent.log())).toMatch(/it asks for fdb \S+ dev flannel\.1 dst 192\.168\.50\.99/)
    expect((await first().httpGet(healthPort, '/readyz'))?.status).toBe(200)
  })
})
