import { describe, expect, it } from 'vitest'
import type { InterfaceFacts, RouteFacts } from '../../../agent/state/underlay_facts.ts'
import { type HostSetting, hostNetworks, overlapWarnings } from '../../../agent/underlay/host_networks.ts'
import { hostNetworkUnder } from '../../../lease/admission/host_networks.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'

const wide = parseNetworkConfig('{"Network":"10.0.0.0/8"}')
const eth0 = nic('eth0', '10.0.5.7/24')
const lo = { ...nic('lo', '127.0.0.1/8'), loopback: true }
const defaultRoute = route('0.0.0.0/0 via 10.0.5.1 dev eth0')

describe('the networks that a host lives on', () => {
  it('are its connected prefixes, its addresses, its gateways and its store', () => {
    const found = read([lo, eth0], [defaultRoute], { endpoints: [parseIp('10.9.9.9')] })
    expect(found.overlapping.map(({ prefix, use }) => `${prefix} ${use}`)).toEqual([
      '10.0.5.0/24 is connected to eth0',
      "10.0.5.7/32 is this host's own address on eth0",
      '10.0.5.1/32 is the default gateway on eth0',
      '10.9.9.9/32 is the address of the lease store',
    ])
    expect(overlapWarnings(wide, found)).toEqual([
      'the pod network 10.0.0.0/8 overlaps 10.0.5.0/24, which is connected to eth0; 10.9.9.9/32, which is the address of the lease ' +
        'store: no subnet is chosen or programmed over these; choose another Network in the network config',
    ])
  })

  it.each([
    ['10.0.5.0/24', true],
    ['10.0.5.128/25', true],
    ['10.0.4.0/23', true],
    ['10.0.6.0/24', false],
    ['10.9.9.0/24', true],
  ])('are under a lease of %s: %s', (prefix, expected) => {
    const found = read([lo, eth0], [defaultRoute], { endpoints: [parseIp('10.9.9.9')] })
    expect(hostNetworkUnder(parsePrefix(prefix), found) !== undefined).toBe(expected)
  })

  it('leave out what holds the whole pod network and more, but keep single addresses in it', () => {
    const network = parseNetworkConfig('{"Network":"10.244.0.0/16"}')
    const routes = [route('0.0.0.0/0 via 10.244.0.1 dev eth0'), route('10.0.0.0/8 via 10.244.0.1 dev eth0')]
    const found = read([lo, nic('eth0', '10.244.3.7/8')], routes, { network })
    expect(found.overlapping.map(({ prefix }) => prefix)).toEqual(['10.244.3.7/32', '10.244.0.1/32'])
    expect(overlapWarnings(network, found)).toEqual([
      'the pod network 10.244.0.0/16 lies inside 10.0.0.0/8, to which this host is connected: hosts there with an address in ' +
        'the pod network cannot be reached; if there are any, choose another Network in the network config',
      "the pod network 10.244.0.0/16 overlaps 10.244.3.7/32, which is this host's own address on eth0; 10.244.0.1/32, which is " +
        'the default gateway on eth0: no subnet is chosen or programmed over these; choose another Network in the network config',
    ])
  })

  it("leave out this node's own pods and devices, and nothing on the interface that carries it", () => {
    const interfaces = [lo, eth0, nic('cni0', '10.7.1.1/24'), nic('flannel.1', '10.7.1.0/32')]
    const routes = [
      defaultRoute,
      route('10.7.1.0/24 dev cni0'),
      route('10.7.1.9/32 dev veth9'),
      route('10.0.5.0/24 dev eth0'),
    ]
    const own = [parsePrefix('10.7.1.0/24'), parsePrefix('10.0.5.0/24')]
    const found = read(interfaces, routes, { ownSubnets: own })
    expect(found.overlapping.map(({ prefix }) => prefix)).toEqual([
      '10.0.5.0/24',
      '10.0.5.7/32',
      '10.0.5.1/32',
    ])
    const bridge = read(interfaces, routes, { ownSubnets: [parsePrefix('10.8.0.0/24')] })
    expect(hostNetworkUnder(parsePrefix('10.7.1.0/24'), bridge)?.use).toBe('is connected to cni0')
  })

  it('are routes of other programs, but not one that flanneld may have left for the very lease', () => {
    const routes = [
      { ...route('10.3.0.0/16 via 10.0.5.9 dev eth0'), protocol: 4 },
      { ...route('10.4.4.0/24 via 10.0.5.9 dev eth0'), protocol: 3 },
      // flanneld's have no metric: this one is an operator's.
      { ...route('10.4.5.0/24 via 10.0.5.9 dev eth0'), protocol: 3, metric: 50 },
    ]
    const found = read([lo, eth0], routes, {})
    const isUnder = (text: string) => hostNetworkUnder(parsePrefix(text), found) !== undefined
    expect([isUnder('10.3.0.0/16'), isUnder('10.3.7.0/24')]).toEqual([true, true])
    expect([isUnder('10.4.4.0/24'), isUnder('10.4.4.0/25')]).toEqual([false, true])
    expect(isUnder('10.4.5.0/24')).toBe(true)
  })

  it('of IPv6 are the same, without link-local and multicast', () => {
    const network = parseNetworkConfig(
      '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00::/16","Backend":{"Type":"vxlan"}}',
    )
    const routes = [route('::/0 via fe80::1 dev eth0'), route('fe80::/64 dev eth0')]
    const found = read([lo, nic('eth0', 'fd00:5::7/64', 'fe80::7/64')], routes, { network })
    expect(found.overlapping.map(({ prefix }) => prefix)).toEqual(['fd00:5::/64', 'fd00:5::7/128'])
  })
})

function read(
  interfaces: readonly InterfaceFacts[],
  routes: readonly RouteFacts[],
  setting: Partial<HostSetting>,
) {
  const rest = { network: wide, devices: ['flannel.1'], external: 'eth0', endpoints: [], ownSubnets: [] }
  return hostNetworks({ interfaces, routes }, { ...rest, ...setting })
}

function nic(name: string, ...texts: string[]): InterfaceFacts {
  const flags = { permanent: true, deprecated: false, temporary: false, tentative: false }
  const addresses = texts.map(text => {
    const [ip = '', length] = text.split('/')
    return { address: parseIp(ip), length: Number(length), scope: 'global' as const, ...flags }
  })
  return { index: 2, name, underlayMtu: 1500, up: true, loopback: false, vxlan: undefined, addresses }
}

/** `DST [via IP] dev NAME`, by the kernel or DHCP. */
function route(text: string): RouteFacts {
  const words = text.split(' ')
  const after = (word: string) => (words.includes(word) ? words[words.indexOf(word) + 1] : undefined)
  const via = after('via')
  return {
    dst: parsePrefix(words[0] ?? ''),
    via: via === undefined ? undefined : parseIp(via),
    dev: after('dev') ?? '',
    metric: 0,
    protocol: 2,
    src: undefined,
  }
}
