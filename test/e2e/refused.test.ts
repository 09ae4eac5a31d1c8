import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed, overlayText } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const folder = '/coreos.com/network/subnets'

describe.skipIf(why !== undefined)('what the kernel refuses', () => {
  let overlay: OverlayBed
  let [h1, h2]: Host[] = []

  beforeEach(async () => {
    overlay = await overlayBed('refused', ['h1', 'h2'])
    ;[h1, h2] = overlay.hosts as [Host, Host]
  })
  afterEach(() => overlay.dispose())

  const first = () => h1 as Host
  const peer = (subnet: string, ip: string, n: number) =>
    overlay.etcd.ctl(
      'put',
      `${folder}/${subnet}`,
      `{"PublicIP":"${ip}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:00:00:00:0${n}"}}`,
    )
  const start = () => first().startAgent({ endpoints: overlay.etcd.endpoints, flags: ['--resync=3600'] })
  const launch = () => first().launchAgent({ endpoints: overlay.etcd.endpoints, flags: ['--resync=3600'] })
  const metric = async (name: string) => {
    const text = (await first().httpGet(8081, '/metrics'))?.body ?? ''
    return text.split('\n').filter(line => line.startsWith(name))
  }
  const readyz = async () => (await first().readyz()).body
  const refusals = (agent: Agent) => agent.log().filter(({ msg }) => msg.startsWith('the kernel refuses'))

  it('of one peer holds up no other, is shown, and heals when the cause goes', async () => {
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan', DirectRouting: true } })
    // The kernel takes no broadcast address as a gateway.
    await first().ip(['route add broadcast 192.168.50.77 dev eth0 table local'])
    await peer('10.244.200.0-24', '192.168.50.77', 3)
    await peer('10.244.201.0-24', '192.168.50.14', 4)
    const agent = await start()
    await peer('10.244.202.0-24', '192.168.50.15', 5)
    await until('the others', async () => {
      const routes = (await first().routes()).join('\n')
      return routes.includes('10.244.201.0/24 via') && routes.includes('10.244.202.0/24 via')
    })
    expect(await metric('twill_entries_failing')).toEqual(['twill_entries_failing{kind="route"} 1'])
    expect(await readyz()).toBe('flanneld is ready')
    expect(refusals(agent)).toHaveLength(1)
    expect(JSON.stringify(refusals(agent)[0])).toMatch(
      /Cannot add route 10\.244\.200\.0\/24 via 192\.168\.50\.77 dev eth0 proto 117: .*invalid gateway/i,
    )

    await first().ip(['route delete broadcast 192.168.50.77 dev eth0 table local'])
    await until(
      'the peer that was refused',
      async () => (await first().routes()).some(line => line.startsWith('10.244.200.0/24 via 192.168.50.77')),
      { withinMs: 70_000 },
    )
    await agent.logs(/the kernel no longer refuses this entry/)
    expect(await metric('twill_entries_failing')).toEqual([])
    expect(agent.log().filter(({ msg }) => msg.includes('another program changed'))).toEqual([])
  })

  it('is of our device while another device holds its VNI and port: one log line names that device, and the overlay is made once it is gone', async () => {
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    await first().ip(['link add cilium_vxlan type vxlan id 1 dstport 8472 local 192.168.50.12'])
    for (let n = 0; n < 30; n++) await peer(`10.244.${200 + n}.0-24`, `192.168.50.${100 + n}`, n % 10)
    const agent = launch()
    const says = await agent.logs(/the kernel refuses/)
    expect(JSON.stringify(says)).toContain('device cilium_vxlan holds VNI 1 on UDP port 8472')
    expect(await readyz()).toMatch(
      /^flanneld is not ready yet\nCannot create device flannel\.1: device cilium_vxlan holds/,
    )
    expect(await metric('twill_entries_failing')).toEqual(['twill_entries_failing{kind="link"} 1'])
    expect(refusals(agent)).toHaveLength(1)

    await first().ip(['link delete cilium_vxlan'])
    await agent.ready()
    expect((await overlayText(first())).match(/onlink/g)?.length).toBeGreaterThan(9)
    expect(agent.log().filter(({ msg }) => msg.includes('another program changed'))).toEqual([])
  })

  it.each([
    ['a bridge', 'link add flannel.1 type bridge'],
    ['one end of a pair', 'link add flannel.1 type veth peer name other'],
    [
      'a VXLAN device of other settings',
      'link add flannel.1 type vxlan id 1 dstport 4789 group 239.1.1.1 dev eth0',
    ],
  ])('is not our device where %s has its name: the agent replaces that one', async (_, command) => {
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    await first().ip([command])
    await start()
    expect(await first().exec(['ip', '-d', 'link', 'show', 'flannel.1'])).toContain(
      'vxlan id 1 local 192.168.50.12 dev eth0 srcport 0 0 dstport 8472 nolearning',
    )
  })

  it('is what another program keeps undoing: repaired with back-off, and named with who may do that', async () => {
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    const agent = await start()
    await h2?.startAgent({ endpoints: overlay.etcd.endpoints })
    const route = await until('the peer', async () =>
      (await first().routes()).find(line => line.includes('dev flannel.1 onlink')),
    )
    const prefix = route.split(' ')[0] ?? ''
    const undo = first().spawn([
      'sh',
      '-c',
      `while sleep 0.02; do ip route del ${prefix} dev flannel.1 2>/dev/null; done`,
    ])
    const says = await agent.logs(/another program keeps changing/)
    expect(says.entries).toBe(`route ${prefix} metric 0`)
    expect(says.msg).toContain(
      "systemd-networkd's ManageForeignRoutes (networkd/networkd.conf.d-foreign-routes.conf)",
    )
    expect(says.msg).toContain('manifests/systemd/')
    expect(await metric('twill_entries_contested')).toEqual(['twill_entries_contested 1'])
    await undo.stop()
    await until('the route to stand again', async () => (await first().routes()).includes(route))
    expect(await readyz()).toBe('flanneld is ready')
  })

  it('is a device whose MAC another program keeps changing: named with what does that', async () => {
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    const agent = await start()
    const undo = first().spawn([
      'sh',
      '-c',
      'while sleep 0.05; do ip link set flannel.1 address 02:ff:00:00:00:01; done',
    ])
    const says = await agent.logs(/another program keeps changing link flannel\.1/)
    expect(says.msg).toContain("udev's MACAddressPolicy (networkd/10-overlay.link)")
    await undo.stop()
    await until(
      'the MAC that peers know',
      async () => !(await first().exec(['ip', 'link', 'show', 'flannel.1'])).includes('02:ff'),
    )
  })
})
