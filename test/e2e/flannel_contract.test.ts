import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

/** A peer as a node that runs flanneld publishes itself. */
const flanneld = {
  key: '/coreos.com/network/subnets/10.244.2.0-24&fd10:244:0:2::-64',
  value:
    '{"PublicIP":"192.168.50.99","PublicIPv6":"fd50::99","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:00:00:00:02"},"BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:00:00:00:06"}}',
}

describe.skipIf(why !== undefined)('what an agent shares with flanneld', () => {
  let overlay: OverlayBed
  let host: Host
  let macs: string[]

  beforeAll(async () => {
    overlay = await overlayBed('contract', ['h1'])
    host = overlay.hosts[0] as Host
    await overlay.configure({
      Network: '10.244.0.0/16',
      EnableIPv6: true,
      IPv6Network: 'fd10:244::/48',
      IPv6SubnetLen: 64,
      // One subnet a family to choose from, so that the text below can be written out.
      SubnetMin: '10.244.7.0',
      SubnetMax: '10.244.7.0',
      IPv6SubnetMin: 'fd10:244:0:7::',
      IPv6SubnetMax: 'fd10:244:0:7::',
      Backend: { Type: 'vxlan' },
    })
    await overlay.etcd.ctl('put', flanneld.key, flanneld.value)
    await overlay.startAgents()
    const links = JSON.parse(await host.exec(['ip', '-j', 'link', 'show', 'type', 'vxlan'])) as {
      ifname: string
      address: string
    }[]
    macs = ['flannel.1', 'flannel-v6.1'].map(
      name => links.find(({ ifname }) => ifname === name)?.address ?? '',
    )
    await until('the peer on the host', async () =>
      (await host.routes('ipv6')).some(line => line.includes('fd10:244:0:2::')),
    )
  })
  afterAll(() => overlay.dispose())

  it('the key and the value of its lease, to the byte', async () => {
    const text = await overlay.etcd.ctl('get', '--prefix', '/coreos.com/network/subnets/10.244.7')
    expect(text.trimEnd().split('\n')).toEqual([
      '/coreos.com/network/subnets/10.244.7.0-24&fd10:244:0:7::-64',
      `{"PublicIP":"${host.address()}","PublicIPv6":"${host.address('ipv6')}","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${macs[0]}"},"BackendV6Data":{"VNI":1,"VtepMAC":"${macs[1]}"}}`,
    ])
    const lease = JSON.parse(
      await overlay.etcd.ctl('get', '-w', 'json', '--prefix', '/coreos.com/network/subnets/10.244.7'),
    ) as { kvs: [{ lease: number }] }
    expect(lease.kvs[0].lease).toBeGreaterThan(0)
  })

  it('the devices, as ip -d link prints them', async () => {
    expect(await vxlanText('flannel.1')).toBe(
      `mtu 1450 link/ether ${macs[0]} vxlan id 1 local ${host.address()} dev eth0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx addrgenmode eui64`,
    )
    expect(await vxlanText('flannel-v6.1')).toBe(
      `mtu 1430 link/ether ${macs[1]} vxlan id 1 local ${host.address('ipv6')} dev eth0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx addrgenmode eui64`,
    )
    expect(macs.map(mac => mac.slice(1, 2))).toEqual([
      expect.stringMatching(/[26ae]/),
      expect.stringMatching(/[26ae]/),
    ])
    expect((await host.exec(['cat', '/proc/sys/net/ipv6/conf/flannel.1/accept_ra'])).trim()).toBe('0')
  })

  it('the addresses, as ip address prints them', async () => {
    expect(await show('ip -4 -br address show dev flannel.1')).toEqual(['flannel.1 UNKNOWN 10.244.7.0/32'])
    expect(await show('ip -6 -br address show dev flannel-v6.1 scope global')).toEqual([
      'flannel-v6.1 UNKNOWN fd10:244:0:7::/128',
    ])
  })

  it('the entries of a peer, as bridge fdb, ip neigh and ip route print them', async () => {
    expect(await show('bridge fdb show dev flannel.1')).toEqual([
      'c6:d2:00:00:00:02 dst 192.168.50.99 self permanent',
    ])
    expect(await show('bridge fdb show dev flannel-v6.1')).toEqual([
      'c6:d2:00:00:00:06 dst fd50::99 self permanent',
    ])
    expect(await show('ip -4 neigh show dev flannel.1')).toEqual([
      '10.244.2.0 lladdr c6:d2:00:00:00:02 PERMANENT',
    ])
    expect(await show('ip -6 neigh show dev flannel-v6.1 nud permanent')).toEqual([
      'fd10:244:0:2:: lladdr c6:d2:00:00:00:06 PERMANENT',
    ])
    expect(await show('ip -4 route show dev flannel.1')).toEqual(['10.244.2.0/24 via 10.244.2.0 onlink'])
    expect(await show('ip -6 route show dev flannel-v6.1 proto boot')).toEqual([
      'fd10:244:0:2::/64 via fd10:244:0:2:: metric 1024 onlink pref medium',
    ])
  })

  it('subnet.env, with the first host address and the smaller MTU', async () => {
    expect(await host.exec(['cat', host.subnetFile])).toBe(
      [
        'FLANNEL_NETWORK=10.244.0.0/16',
        'FLANNEL_SUBNET=10.244.7.1/24',
        'FLANNEL_IPV6_NETWORK=fd10:244::/48',
        'FLANNEL_IPV6_SUBNET=fd10:244:0:7::1/64',
        'FLANNEL_MTU=1430',
        'FLANNEL_IPMASQ=false',
        '',
      ].join('\n'),
    )
    expect((await host.exec(['stat', '-c', '%a', host.subnetFile])).trim()).toBe('644')
  })

  /** Lines with blanks folded. */
  async function show(command: string): Promise<string[]> {
    const text = await host.exec(command.split(' '))
    return text.split('\n').flatMap(line => (line.trim() === '' ? [] : [line.trim().replaceAll(/\s+/g, ' ')]))
  }

  /** What of `ip -d link` a VXLAN device is made from: the rest differs between kernels. */
  async function vxlanText(name: string): Promise<string> {
    const text = (await show(`ip -d link show dev ${name}`)).join(' ')
    const parts = [/mtu \d+/, /link\/ether \S+/, /vxlan id .* addrgenmode \S+/]
    return parts.map(part => part.exec(text)?.[0]).join(' ')
  }
})
