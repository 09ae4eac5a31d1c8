import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const subnets = '/coreos.com/network/subnets'
const peer = (publicIp: string, mac = '02:00:00:00:00:02') =>
  `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`

describe.skipIf(why !== undefined)('bad input', () => {
  let overlay: OverlayBed
  let host: Host
  beforeEach(async () => {
    overlay = await overlayBed('bad', ['h1'])
    host = overlay.hosts[0] as Host
  })
  afterEach(() => overlay.dispose())

  const launch = (flags: string[] = [], endpoints = overlay.etcd.endpoints) =>
    host.launchAgent({ endpoints, flags })
  const errors = (agent: ReturnType<typeof launch>) =>
    agent.log().flatMap(line => (line.level === 'error' ? [line.msg] : []))

  it('no network config: says once how to set it, and continues by itself when it is there', async () => {
    const agent = launch()
    const line = await agent.logs(/etcd has no network config/)
    const command = /ETCDCTL_API=3 etcdctl (.*)$/.exec(line.msg)?.[1] ?? ''
    await host.exec(['sh', '-c', `ETCDCTL_API=3 etcdctl ${command}`])
    await agent.ready()
    expect(agent.log().filter(({ msg }) => /no network config/.test(msg))).toHaveLength(1)
  })

  it('a wrong network config: names key, value and rule once, and continues by itself once it is mended', async () => {
    await overlay.configure({ Network: '10.244.0.0/16', SubnetLen: 31 })
    const agent = launch()
    await agent.logs(
      /under \/coreos.com\/network\/config cannot be used: SubnetLen must be less than \/31.*31/,
    )
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan', VNI: 'one' } })
    await agent.logs(/cannot be used: Backend.VNI is "one": a whole number from 0 to 16777215 is needed/)
    expect((await host.readyz()).body).toContain('Backend.VNI is "one"')
    await overlay.configure({ Network: '10.244.0.0/16' })
    await agent.ready()
    expect(errors(agent)).toHaveLength(2)
    await overlay.configure({ Network: '10.244.0.0/16', SubnetLen: 26 })
    await agent.logs(/has changed: this node keeps.*restart the agent to apply the new one/)
    expect((await host.readyz()).body).toContain('restart the agent to apply')
    await overlay.etcd.ctl('put', '/coreos.com/network/config', '{"Network":')
    await agent.logs(/was changed and cannot be used/)
    await overlay.etcd.ctl('del', '/coreos.com/network/config')
    await agent.logs(/etcd has no network config under .* any more/)
    await overlay.configure({ Network: '10.244.0.0/16' })
    await agent.ready()
  })

  it('etcd cannot be reached: says which endpoint and why, and keeps trying', async () => {
    await overlay.configure()
    await overlay.etcd.stop()
    const agent = launch()
    const line = await agent.logs(/Cannot read the network config, trying again/)
    expect(line.msg).toContain(overlay.etcd.endpoint)
    expect(line.msg).toMatch(/ECONNREFUSED|refused/i)
    await overlay.etcd.restart()
    await agent.ready()
  })

  it('no such interface: lists what there is once, and waits for it', async () => {
    await overlay.configure()
    const agent = host.launchAgent({ endpoints: overlay.etcd.endpoints, iface: 'eth7' })
    const line = await agent.logs(/Cannot choose an external interface/)
    expect(line.msg).toMatch(/--iface eth7: no such interface.*There are: .*eth0 up 192\.168\.50\.\d+\/24/)
    expect(agent.process.exit).toBeUndefined()
  })

  it('no CAP_NET_ADMIN: says so before anything else, and ends with 1', async () => {
    const process = host.spawn(
      [
        'setpriv',
        '--bounding-set=-net_admin',
        '--inh-caps=-net_admin',
        './dist/twilld.js',
        `--etcd-endpoints=${overlay.etcd.endpoint}`,
        '--cache-file=none',
      ],
      { name: 'weak' },
    )
    expect((await process.exited).code).toBe(1)
    expect(process.text()).toContain('without the capability CAP_NET_ADMIN')
    expect(process.text()).not.toContain('etcd has no network config')
  })

  it('another device with our VNI and port: named, and taken over from once it is gone', async () => {
    await overlay.configure({ Network: '10.244.0.0/16' })
    await host.ip(['link add cilium_vxlan type vxlan id 1 dev eth0 dstport 8472'])
    const agent = launch()
    const refused = await agent.logs(/the kernel refuses/)
    expect(JSON.stringify(refused)).toContain('cilium_vxlan')
    expect((await host.readyz()).status).toBe(503)
    await host.ip(['link del cilium_vxlan'])
    await agent.ready()
  })

  it('malformed, overlapping and hostile leases: reported by key, never programmed, no peer lost by them', async () => {
    await overlay.configure({ Network: '10.244.0.0/16', SubnetMin: '10.244.7.0', SubnetMax: '10.244.7.0' })
    await overlay.etcd.ctl('put', `${subnets}/10.244.2.0-24`, peer('192.168.50.102'))
    const hostile: Record<string, string> = {
      nonsense: peer('192.168.50.103'),
      '10.244.3.0-24': 'no json',
      '10.244.4.0-24': '{"PublicIP":"nowhere","PublicIPv6":null,"BackendType":"vxlan"}',
      '10.9.0.0-24': peer('192.168.50.105', '02:00:00:00:00:05'),
      '10.244.2.128-25': peer('192.168.50.106', '02:00:00:00:00:06'),
      '10.244.7.128-25': peer('192.168.50.107', '02:00:00:00:00:07'),
      '10.244.8.0-24': peer('127.0.0.1', '02:00:00:00:00:08'),
      '10.244.9.0-24': peer('224.0.0.1', '02:00:00:00:00:09'),
      '10.244.10.0-24': peer('0.0.0.0', '02:00:00:00:00:10'),
      '10.244.12.0-24': peer('192.168.50.112', '01:00:5e:00:00:01'),
      '10.244.13.0-24': peer('192.168.50.113', '00:00:00:00:00:00'),
      '10.244.14.0-24': peer('192.168.50.114', '02:00:00:00:00:02'),
      '10.244.15.0-24': peer('192.168.50.102', '02:00:00:00:00:15'),
    }
    const agent = launch()
    await agent.ready()
    for (const [key, value] of Object.entries(hostile))
      await overlay.etcd.ctl('put', `${subnets}/${key}`, value)
    await overlay.etcd.ctl('put', `${subnets}/10.244.2.0-24`, 'broken now')
    for (const key of [...Object.keys(hostile), '10.244.2.0-24'])
      await until(`a line about ${key}`, () =>
        agent.log().some(line => line.level === 'warn' && JSON.stringify(line).includes(key)),
      )
    expect(await host.routes()).toContain('10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink')
    // The last of them only has the public IP of another, which harms neither.
    const fdb = async () =>
      (await host.exec(['bridge', 'fdb', 'show', 'dev', 'flannel.1'])).trim().split('\n').sort()
    await until('two peers', async () => (await fdb()).length > 1)
    expect(await fdb()).toEqual([
      '02:00:00:00:00:02 dst 192.168.50.102 self permanent',
      '02:00:00:00:00:15 dst 192.168.50.102 self permanent',
    ])
    await until('the route to the second', async () =>
      (await host.routes()).join().includes('10.244.15.0/24'),
    )
    expect((await host.routes()).filter(line => line.includes('flannel.1'))).toHaveLength(2)
    await overlay.etcd.ctl('del', `${subnets}/10.244.2.0-24`)
    await until('the younger of two with one MAC to get it', async () =>
      (await host.routes()).some(line => line.startsWith('10.244.14.0/24')),
    )
  })
})
