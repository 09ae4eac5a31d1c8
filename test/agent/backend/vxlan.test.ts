import { describe, expect, it } from 'vitest'
import type { Underlay } from '../../../agent/backend/backend.ts'
import { openBackend } from '../../../agent/backend/registry.ts'
import { vxlan } from '../../../agent/backend/vxlan.ts'
import { printEntry } from '../../../agent/state/print.ts'
import { readBackendData } from '../../../lease/backend_data.ts'
import type { Lease } from '../../../lease/lease.ts'
import { type Family, parseIp } from '../../../lease/net/ip.ts'
import { parseMac } from '../../../lease/net/mac.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../../lease/network_config/network_config.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'
import { hostGwLease, vxlanLease } from '../../support/leases.ts'

const self = vxlanLease(
  'h1',
  '02:00:00:00:00:01',
  '10.244.1.0/24 at 192.168.0.1',
  'fd00:10:1::/64 at fd00::1',
)
const peer = vxlanLease(
  'h2',
  '02:00:00:00:00:02',
  '10.244.2.0/24 at 192.168.0.2',
  'fd00:10:2::/64 at fd00::2',
)

const underlay: Underlay = {
  name: 'eth0',
  underlayMtu: 1500,
  publicIps: [parseIp('192.168.0.1'), parseIp('fd00::1')],
  localIps: [parseIp('192.168.0.1'), parseIp('fd00::1')],
  onLink: [parsePrefix('192.168.0.0/24'), parsePrefix('fd00::/64')],
}

describe('the vxlan backend', () => {
  it('makes the devices and addresses of a dual-stack node, each family with its own headroom', () => {
    expect(print(backend().ownEntries(self, underlay))).toEqual([
      'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning',
      'link flannel-v6.1 mtu 1430 state UP address 02:00:00:00:00:01 vxlan id 1 local6 fd00::1 dev eth0 dstport 8472 nolearning',
      'address 10.244.1.0/32 dev flannel.1',
      'address fd00:10:1::/128 dev flannel-v6.1',
    ])
    expect(backend().overlayMtu(underlay)).toBe(1430)
  })

  it('programs a peer as MAC to host, gateway to MAC, subnet to gateway, in each family', () => {
    expect(print(backend().peerEntries(self, peer, underlay))).toEqual([
      'fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2',
      'neighbor 10.244.2.0 dev flannel.1 lladdr 02:00:00:00:00:02',
      'route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
      'fdb 02:00:00:00:00:02 dev flannel-v6.1 dst fd00::2',
      'neighbor fd00:10:2:: dev flannel-v6.1 lladdr 02:00:00:00:00:02',
      'route fd00:10:2::/64 via fd00:10:2:: dev flannel-v6.1 metric 1024 onlink',
    ])
  })

  it('takes a peer of one family as far as that goes', () => {
    const v4Only = vxlanLease('h3', '02:00:00:00:00:03', '10.244.3.0/24 at 192.168.0.3')
    expect(print(backend().peerEntries(self, v4Only, underlay))).toHaveLength(3)
  })

  it('routes straight to a peer on the link under DirectRouting, and tunnels to one behind a router', () => {
    const direct = backend({ DirectRouting: true })
    const far = vxlanLease('h9', '02:00:00:00:00:09', '10.244.9.0/24 at 10.0.0.9')
    expect(print(direct.peerEntries(self, peer, underlay))).toEqual([
      'route 10.244.2.0/24 via 192.168.0.2 dev eth0 proto 117',
      'route fd00:10:2::/64 via fd00::2 dev eth0 proto 117 metric 1024',
    ])
    expect(print(direct.peerEntries(self, far, underlay))).toContain(
      'fdb 02:00:00:00:00:09 dev flannel.1 dst 10.0.0.9',
    )
  })

  it('takes VNI, port and MTU from the network config, whatever the case of the keys', () => {
    const other = backend({ vni: 7, PORT: 4789, MTU: 1400, Learning: true, gbp: true })
    expect(print(other.ownEntries(self, underlay))[0]).toBe(
      'link flannel.7 mtu 1350 state UP address 02:00:00:00:00:01 vxlan id 7 local 192.168.0.1 dev eth0 dstport 4789 learning gbp',
    )
    expect(other.publish([parseMac('02:00:00:00:00:01')]).map(data => JSON.stringify(data))).toEqual([
      '{"vni":7,"mac":"02:00:00:00:00:01"}',
    ])
  })

  it.each([
    ['VNI', 16777216, 'Backend.VNI is 16777216: a whole number from 0 to 16777215 is needed'],
    ['Port', '8472', 'Backend.Port is "8472": a whole number from 0 to 65535 is needed'],
    ['DirectRouting', 1, 'Backend.DirectRouting is 1: true or false is needed'],
  ])('refuses the option %s = %j by name', (key, value, message) => {
    expect(() => backend({ [key]: value })).toThrow(message)
  })

  it.each(['VNI', 'Learning', 'Type'])('prints only the start of a long value of %s', key => {
    const config = { Network: '10.244.0.0/16', Backend: { Type: 'vxlan', [key]: 'x'.repeat(60_000) } }
    expect(() => openBackend(parseNetworkConfig(JSON.stringify(config)))).toThrow(
      /^.{1,40}"x{119}\.\.\.: .{1,80}$/,
    )
  })

  it.each([
    [
      { VNI: 10_000 },
      'Backend.VNI is 10000: the device flannel-v6.10000 would have a name of 16 characters',
      'at most 9999',
    ],
    [
      { MTU: 1349 },
      'Backend.MTU is 1349: less 70 for the tunnel, flannel-v6.1 would have an MTU of 1279',
      'take 1350 or more',
    ],
    [
      { MTU: 100 },
      'Backend.MTU is 100: less 50 for the tunnel, flannel.1 would have an MTU of 50',
      'take 118 or more',
    ],
  ])('refuses a device that cannot be: %j', (options, message, remedy) => {
    expect(() => backend(options)).toThrow(message)
    expect(() => backend(options)).toThrow(remedy)
    expect(() => backend({ VNI: 9_999, MTU: 1350 })).not.toThrow()
  })

  it.each<[string, Lease, string]>([
    [
      'another backend',
      hostGwLease('x', '10.244.5.0/24 at 192.168.0.5'),
      "its backend is 'host-gw', the network's is 'vxlan'",
    ],
    [
      'our own MAC',
      { ...peer, subnets: vxlanLease('x', '02:00:00:00:00:01', '10.244.5.0/24 at 192.168.0.5').subnets },
      'its VTEP MAC 02:00:00:00:00:01 is our own',
    ],
    [
      'a multicast MAC',
      vxlanLease('x', '01:00:5e:00:00:01', '10.244.5.0/24 at 192.168.0.5'),
      'names no usable VtepMAC',
    ],
    ['no backend data', withData(null), 'its backend data is missing'],
    ['another VNI', withData({ VNI: 2, VtepMAC: '02:00:00:00:00:02' }), "its VNI is 2, the network's is 1"],
    ['text for backend data', withData('x'), 'its backend data "x" names no usable VtepMAC'],
    ['a VNI of text', withData({ VNI: '1', VtepMAC: '02:00:00:00:00:02' }), 'is no number'],
  ])('refuses a peer with %s', (_, lease, message) => {
    expect(() => backend().peerEntries(self, lease, underlay)).toThrow(message)
  })

  it('accepts the backend data of old flanneld releases, which name no VNI', () => {
    expect(
      print(backend().peerEntries(self, withData({ VtepMAC: '02:00:00:00:00:02' }), underlay)),
    ).toHaveLength(3)
  })

  it('reads the keys of backend data in any case, as Go does', () => {
    const lease = withData({ vni: 1, vtepmac: '02-00-00-00-00-0A' })
    expect(print(backend().peerEntries(self, lease, underlay))).toContain(
      'fdb 02:00:00:00:00:0a dev flannel.1 dst 192.168.0.5',
    )
    expect(() =>
      backend().peerEntries(self, withData({ vni: 2, VTEPMAC: '02:00:00:00:00:0a' }), underlay),
    ).toThrow("its VNI is 2, the network's is 1")
  })

  it('finds the MACs that a lease published, one a family', () => {
    expect(backend().publishedMacs(self)).toEqual(['02:00:00:00:00:01', '02:00:00:00:00:01'])
    expect(backend().publishedMacs(withData({ VtepMAC: 'no' }))).toEqual([undefined, undefined])
  })
})

function backend(options: Record<string, unknown> = {}) {
  const families = (['ipv4', 'ipv6'] as Family[]).map(family => ({
    family,
    network: parsePrefix(family === 'ipv4' ? '10.244.0.0/16' : 'fd00:10::/32'),
    subnetLength: 24,
    subnetMin: parseIp('10.244.1.0'),
    subnetMax: parseIp('10.244.255.0'),
  }))
  const network: NetworkConfig = { families, backend: { type: 'vxlan', options }, enableNftables: false }
  return vxlan(network)
}

function withData(data: unknown): Lease {
  const backendData = readBackendData(data)
  const [subnet] = vxlanLease('x', '02:00:00:00:00:05', '10.244.5.0/24 at 192.168.0.5').subnets
  if (subnet === undefined) throw new Error('a lease has a subnet')
  return { node: 'x', backendType: 'vxlan', since: 1, subnets: [{ ...subnet, backendData }] }
}

const print = (entries: Iterable<Parameters<typeof printEntry>[0]>) => Array.from(entries, printEntry)
