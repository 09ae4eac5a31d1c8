import { setTimeout as sleep } from 'node:timers/promises'
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

describe.skipIf(why !== undefined)('the external interface', () => {
  let overlay: OverlayBed
  let [h1, h2]: Host[] = []
  beforeEach(async () => {
    overlay = await overlayBed('hold', ['h1', 'h2'])
    ;[h1, h2] = overlay.hosts as [Host, Host]
    await overlay.configure({ Network: '10.244.0.0/16' })
    await overlay.bed.router('router', [overlay.lan])
  })
  afterEach(() => overlay.dispose())

  const first = () => h1 as Host
  const second = () => h2 as Host
  const start = (host: Host, iface = '', flags: string[] = []) =>
    host.startAgent({ endpoints: overlay.etcd.endpoints, iface, flags })
  const leases = () => overlay.etcd.ctl('get', '--prefix', '/coreos.com/network/subnets')
  /** Undefined while there is no device. */
  const localOf = async (host: Host) =>
    /local (\S+) dev (\S+)/
      .exec((await host.attempt(['ip', '-d', 'link', 'show', 'flannel.1'])).stdout)
      ?.slice(1)
      .join(' ')
  const ready = async (host: Host) => (await host.readyz()).status === 200
  const pods = async () => {
    const [one, two] = (await Promise.all([first().pod(), second().pod()])) as [Pod, Pod]
    await untilReached(one, two.address())
    return [one, two] as const
  }

  it('stays while it stands: a virtual IP, a second address, a VPN with a better default route cost no packet', async () => {
    await first().ip([
      'address add 192.168.50.100/32 dev eth0',
      'route delete default',
      'route add default via 192.168.50.1 metric 100',
    ])
    const agent = await start(first())
    await start(second())
    expect(await localOf(first())).toBe('192.168.50.12 eth0')
    const reconnects = () => first().metric('twill_store_reconnects_total')
    const connected = await reconnects()
    expect(connected).not.toBeNaN()
    const text = await leases()
    const [one, two] = await pods()
    const lost = await lostWhile([[one, two.address()]], async () => {
      await first().ip([
        'address delete 192.168.50.100/32 dev eth0',
        'address add 192.168.50.101/32 dev eth0',
        'address add 192.168.50.102/24 dev eth0',
        'address add 192.168.52.12/24 dev eth0',
        'link add tun0 type bridge',
        'address add 10.8.0.2/24 dev tun0',
        'link set tun0 up',
        'route add default via 10.8.0.1 dev tun0 metric 1',
      ])
      const said = await agent.logs(/would be chosen as external interface at the next start/)
      expect(said.msg).toContain('tun0 with 10.8.0.2 would be chosen')
      expect(said.level).toBe('warn')
      await sleep(1_000)
    })
    expect(lost).toEqual([])
    expect([await leases(), await localOf(first()), await ready(first())]).toEqual([
      text,
      '192.168.50.12 eth0',
      true,
    ])
    expect(await reconnects()).toBe(connected)
  })

  it('that loses its address for a moment keeps it: nothing is published', async () => {
    await first().ip(['address add 192.168.50.100/32 dev eth0'])
    // Longer than by default: a busy machine takes its time to put the address back.
    const agent = await start(first(), '', ['--underlay-patience=60s'])
    await start(second())
    const text = await leases()
    await pods()
    await first().ip(['address delete 192.168.50.12/24 dev eth0'])
    await agent.logs(/external interface eth0 with 192\.168\.50\.12 is gone; .* away for 60 s/)
    expect(await ready(first())).toBe(false)
    await first().ip(['address add 192.168.50.12/24 dev eth0', 'route replace default via 192.168.50.1'])
    await agent.logs(/external interface is back: eth0 with 192\.168\.50\.12/)
    await until('the node to be ready', () => ready(first()))
    expect([await leases(), await localOf(first())]).toEqual([text, '192.168.50.12 eth0'])
    const [one, two] = [first().pods[0], second().pods[0]] as [Pod, Pod]
    await untilReached(one, two.address())
  })

  it('is left for a doubtful address only after the patience, and taken again when it is back', async () => {
    await first().ip(['address add 192.168.50.100/32 dev eth0'])
    const agent = await start(first(), '', ['--underlay-patience=500ms'])
    await start(second())
    await pods()
    await first().ip([
      'address delete 192.168.50.12/24 dev eth0',
      'route add 192.168.50.0/24 dev eth0 src 192.168.50.100',
    ])
    await agent.logs(/external interface changed/)
    await until('peers to lead there', async () => (await leases()).includes('192.168.50.100'))
    await first().ip(['route delete 192.168.50.0/24 dev eth0', 'address add 192.168.50.12/24 dev eth0'])
    await until('the former address', async () => (await leases()).includes('"192.168.50.12"'))
    const [one, two] = [first().pods[0], second().pods[0]] as [Pod, Pod]
    await untilReached(one, two.address())
  })

  it('is followed to a bridge that is built over it, and back, also where a flag names the interface', async () => {
    const agent = await start(first(), 'eth0')
    await start(second())
    const text = await leases()
    const [one, two] = await pods()
    await first().ip([
      'link add br0 type bridge',
      'link set br0 up',
      'link set eth0 master br0',
      'address delete 192.168.50.12/24 dev eth0',
      'address add 192.168.50.12/24 dev br0',
      'route add default via 192.168.50.1',
    ])
    await agent.logs(/no external interface would be found at the next start/)
    await until('the device', async () => (await localOf(first())) === '192.168.50.12 br0')
    await untilReached(one, two.address())
    expect([await ready(first()), await leases()]).toEqual([true, text])
    await first().ip([
      'address delete 192.168.50.12/24 dev br0',
      'link delete br0',
      'address add 192.168.50.12/24 dev eth0',
    ])
    await until('the device', async () => (await localOf(first())) === '192.168.50.12 eth0')
    await untilReached(one, two.address())
    expect([await ready(first()), await leases()]).toEqual([true, text])
  })

  it('has the preferred source of the default route, which may be an address on lo', async () => {
    await first().ip([
      'address add 192.168.50.102/24 dev eth0',
      'route replace default via 192.168.50.1 src 192.168.50.102',
    ])
    await second().ip([
      'address add 10.99.0.2/32 dev lo',
      'route replace default via 192.168.50.1 src 10.99.0.2',
    ])
    await first().ip(['route add 10.99.0.2/32 via 192.168.50.13'])
    await start(first())
    await start(second())
    expect([await localOf(first()), await localOf(second())]).toEqual([
      '192.168.50.102 eth0',
      '10.99.0.2 eth0',
    ])
    expect(second().subnetEnv().FLANNEL_MTU).toBe('1450')
    const [one, two] = await pods()
    expect(await lostWhile([[one, two.address()]])).toEqual([])
  })

  it('is waited for at start, and may be named by its other name or by a label', async () => {
    const agent = first().launchAgent({ endpoints: overlay.etcd.endpoints, iface: 'eth1' })
    await agent.logs(/Cannot choose an external interface: --iface eth1: no such interface.*Waiting for one/)
    expect((await first().readyz()).body).toContain('waiting for an external interface: Cannot choose')
    const lab = await overlay.bed.segment('lab', ['192.168.60.0/24'])
    await lab.plug(first(), 'eth1')
    await first().ip(['link set eth1 up', 'address add 192.168.60.12/24 dev eth1'])
    await agent.ready()
    expect(await localOf(first())).toBe('192.168.60.12 eth1')

    await second().ip([
      'link property add dev eth0 altname enp0s3',
      'address add 192.168.50.102/24 dev eth0 label eth0:1',
    ])
    const other = await start(second(), 'enp0s3')
    expect(await localOf(second())).toBe('192.168.50.13 eth0')
    await other.stop()
    await start(second(), 'eth0:1')
    expect(await localOf(second())).toBe('192.168.50.102 eth0')
  })

  it('may have an address of 240.0.0.0/4, and so may peers', async () => {
    const lab = await overlay.bed.segment('lab', ['240.0.5.0/24'])
    for (const [i, host] of [first(), second()].entries()) {
      await lab.plug(host, 'eth1')
      await host.ip(['link set eth1 up', `address add 240.0.5.${11 + i}/24 dev eth1`])
    }
    await start(first(), 'eth1')
    await start(second(), '240.0.5.12')
    expect([await localOf(first()), await localOf(second())]).toEqual(['240.0.5.11 eth1', '240.0.5.12 eth1'])
    const [one, two] = await pods()
    expect(await lostWhile([[one, two.address()]])).toEqual([])
    expect([await ready(first()), await ready(second())]).toEqual([true, true])
  })

  it('of both families stays while virtual IPs, further addresses and a better default route come and go in each', async () => {
    await overlay.configure()
    await first().ip(['address add fd50::100/128 dev eth0 nodad', 'address add 192.168.50.100/32 dev eth0'])
    const agent = await start(first())
    await start(second())
    expect(await leases()).toContain('"PublicIP":"192.168.50.12","PublicIPv6":"fd50::c"')
    const text = await leases()
    const [one, two] = await pods()
    const six = () => two.addresses[1] ?? ''
    await untilReached(one, six())
    const ways = [two.address(), six()].map(to => [one, to] as const)
    const lost = await lostWhile(ways, async () => {
      await first().ip([
        'address delete fd50::100/128 dev eth0',
        'address add fd50::101/128 dev eth0 nodad',
        'address add fd50::102/64 dev eth0 nodad',
        // As a privacy address grows old: peers still send there.
        'address change fd50::c/64 dev eth0 preferred_lft 0',
        'link add tun0 type bridge',
        'address add 10.8.0.2/24 dev tun0',
        'address add fd08::2/64 dev tun0 nodad',
        'link set tun0 up',
        'route prepend default via 10.8.0.1 dev tun0',
        'route add default via fd08::1 dev tun0 metric 1',
      ])
      await agent.logs(/would be chosen as external interface at the next start/)
      await sleep(1_000)
    })
    expect(lost).toEqual([])
    await first().ip(['link delete tun0', 'address delete fd50::101/128 dev eth0'])
    expect([await leases(), await localOf(first()), await ready(first())]).toEqual([
      text,
      '192.168.50.12 eth0',
      true,
    ])
  })

  it('that can reach an address is what the kernel says by its policy rules', async () => {
    const lab = await overlay.bed.segment('lab', ['192.168.60.0/24'])
    await lab.plug(first(), 'eth1')
    await first().ip([
      'address add 192.168.60.12/24 dev eth1',
      'link set eth1 up',
      'rule add to 203.0.113.0/24 table 100',
      'route add 203.0.113.0/24 via 192.168.60.1 dev eth1 src 192.168.60.12 table 100',
    ])
    const agent: Agent = await start(first(), '', ['--iface-can-reach=203.0.113.7'])
    expect(await localOf(first())).toBe('192.168.60.12 eth1')
    expect(agent.process.exit).toBeUndefined()
  })
})
