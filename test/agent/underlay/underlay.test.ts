import { describe, expect, it } from 'vitest'
import type { InterfaceAddress, InterfaceFacts, RouteFacts } from '../../../agent/state/underlay_facts.ts'
import {
  chooseUnderlay,
  type PublicIps,
  type UnderlayChoice,
  UnderlayError,
  type UnderlayView,
  type UnderlayWish,
} from '../../../agent/underlay/underlay.ts'
import { type Family, familyOf, parseIp, scopeOf } from '../../../lease/net/ip.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'

const lo = nic('lo', ['127.0.0.1/8', '::1/128'], { loopback: true, underlayMtu: 65536 })
const eth0 = nic('eth0', ['10.0.2.15/24', 'fd00:2::15/64', 'fe80::1/64'])
const eth1 = nic('eth1', ['192.168.56.10/24', '192.168.56.11/24', 'fd00:56::10/64'])
const overlay = nic('flannel.1', ['10.244.1.0/32'], { underlayMtu: 1450 })
const bridge = nic('cni0', ['10.244.1.1/24'])

/** As on a Vagrant host: the default route leads out by a NAT interface that all hosts have alike. */
const facts: UnderlayView = {
  interfaces: [lo, eth0, eth1, overlay, bridge],
  routes: [
    route('0.0.0.0/0 via 10.0.2.2 dev eth0 metric 100'),
    route('10.0.2.0/24 dev eth0 src 10.0.2.15'),
    route('192.168.56.0/24 dev eth1 src 192.168.56.10'),
    route('172.16.0.0/12 via 192.168.56.1 dev eth1 src 192.168.56.11'),
    route('10.244.1.0/24 dev cni0 src 10.244.1.1'),
    route('10.244.2.0/24 via 10.244.2.0 dev flannel.1'),
    route('::/0 via fe80::9 dev eth0 metric 1024'),
    route('fd00:2::/64 dev eth0 metric 256'),
    route('fd00:56::/64 dev eth1 metric 256'),
  ],
}

describe('without a wish', () => {
  it('the interface of the default route is taken', () => {
    expect(print(choose({}))).toBe('eth0 mtu 1500 public 10.0.2.15 local 10.0.2.15 on-link 10.0.2.0/24')
    expect(choose({}).reason).toBe('it has the default route (ipv4)')
  })

  it('the default route of the smallest metric wins', () => {
    const routes = [...facts.routes, route('0.0.0.0/0 via 192.168.56.1 dev eth1 metric 50')]
    expect(choose({}, { ...facts, routes }).name).toBe('eth1')
  })

  it('a dual-stack node takes the interface that has both default routes', () => {
    expect(print(choose({}, facts, ['ipv4', 'ipv6']))).toBe(
      'eth0 mtu 1500 public 10.0.2.15 + fd00:2::15 local 10.0.2.15 + fd00:2::15 on-link 10.0.2.0/24 fd00:2::/64',
    )
    const apart = facts.routes.filter(({ dst }) => dst !== '::/0').concat(route('::/0 via fe80::9 dev eth1'))
    expect(() => choose({}, { ...facts, routes: apart }, ['ipv4', 'ipv6'])).toThrow(
      'no interface has default routes (ipv4 and ipv6)',
    )
  })

  it('an interface that has the public IP goes before the default route', () => {
    const choice = choose({ publicIps: publicIps('192.168.56.11') })
    expect(print(choice)).toBe(
      'eth1 mtu 1500 public 192.168.56.11 local 192.168.56.11 on-link 192.168.56.0/24',
    )
    expect(choice.reason).toBe('it has the public IP 192.168.56.11')
  })

  it('a public IP that no interface has, as behind NAT, is told to peers while packets leave from a local address', () => {
    expect(print(choose({ publicIps: publicIps('203.0.113.7') }))).toBe(
      'eth0 mtu 1500 public 203.0.113.7 local 10.0.2.15 on-link 10.0.2.0/24',
    )
  })

  it('what an overlay or a container runtime made is never taken', () => {
    const routes = [route('0.0.0.0/0 dev flannel.1'), route('0.0.0.0/0 dev cni0'), ...facts.routes]
    expect(choose({}, { ...facts, routes }).name).toBe('eth0')
    expect(choose({ ifaceRegex: [/^10\.244\./, /eth1/] }).name).toBe('eth1')
  })

  it('two runs over the same facts choose the same', () => {
    expect(choose({}, facts, ['ipv4', 'ipv6'])).toEqual(choose({}, facts, ['ipv4', 'ipv6']))
  })
})

describe('with a wish', () => {
  it('--iface takes a name or an address, the first that is there', () => {
    expect(choose({ iface: ['eth9', 'eth1', 'eth0'] })).toMatchObject({
      name: 'eth1',
      reason: '--iface eth1',
    })
    expect(choose({ iface: ['192.168.56.11'] }).publicIps).toEqual(['192.168.56.11'])
    expect(choose({ iface: ['eth1'], publicIps: publicIps('203.0.113.7') }).publicIps).toEqual([
      '203.0.113.7',
    ])
  })

  it('--iface may name what is never taken by itself', () => {
    expect(choose({ iface: ['cni0'] }).name).toBe('cni0')
  })

  it('--iface continues with the next where a family is missing', () => {
    expect(choose({ iface: ['cni0', 'eth1'] }, facts, ['ipv4', 'ipv6']).name).toBe('eth1')
  })

  it('--iface-regex matches addresses before names', () => {
    expect(choose({ ifaceRegex: [/eth0|192\.168\.56\.11/] })).toMatchObject({
      name: 'eth1',
      publicIps: ['192.168.56.11'],
    })
    expect(choose({ ifaceRegex: [/^enp/, /^eth1$/] }).name).toBe('eth1')
  })

  it('--iface-can-reach takes the interface and the source address that the kernel answers', () => {
    const ifaceCanReach = parseIp('172.16.3.4')
    const reach = { dev: 'eth1', via: parseIp('192.168.56.1'), src: parseIp('192.168.56.11') }
    expect(choose({ ifaceCanReach }, { ...facts, reach })).toMatchObject({
      name: 'eth1',
      localIps: ['192.168.56.11'],
    })
    expect(() => choose({ ifaceCanReach })).toThrow('--iface-can-reach 172.16.3.4: no route to it')
    const local = { dev: 'lo', via: undefined, src: parseIp('172.16.3.4') }
    expect(() => choose({ ifaceCanReach }, { ...facts, reach: local })).toThrow('an address of this host')
  })

  it('--iface takes another name of a device, and the label of an address', () => {
    const labelled = { ...address('192.168.56.12/24'), label: 'eth1:1' }
    const eth1 = nic('eth1', ['192.168.56.10/24'], { altNames: ['enp0s8', 'storage'] })
    const interfaces = [eth0, { ...eth1, addresses: [...eth1.addresses, labelled] }]
    expect(choose({ iface: ['storage'] }, { ...facts, interfaces }).localIps).toEqual(['192.168.56.10'])
    expect(choose({ iface: ['eth1:1'] }, { ...facts, interfaces })).toMatchObject({
      name: 'eth1',
      localIps: ['192.168.56.12'],
    })
  })

  it('--iface goes before --iface-regex, and that before --iface-can-reach', () => {
    const ifaceCanReach = parseIp('8.8.8.8')
    expect(choose({ iface: ['eth0'], ifaceRegex: [/eth1/], ifaceCanReach }).name).toBe('eth0')
    expect(choose({ iface: ['eth9'], ifaceRegex: [/eth1/], ifaceCanReach }).name).toBe('eth1')
    const reach = { dev: 'eth0', via: undefined, src: undefined }
    expect(choose({ iface: ['eth9'], ifaceRegex: [/eth8/], ifaceCanReach }, { ...facts, reach }).name).toBe(
      'eth0',
    )
  })

  it('nothing else is taken where none of it fits', () => {
    expect(() => choose({ iface: ['eth9', '1.2.3.4'], ifaceRegex: [/wg/] })).toThrow(
      new UnderlayError(
        'Cannot choose an external interface: --iface eth9: no such interface; --iface 1.2.3.4: no such address; ' +
          '--iface-regex wg: matches nothing. There are: eth0 up 10.0.2.15/24 fd00:2::15/64 fe80::1/64; ' +
          'eth1 up 192.168.56.10/24 192.168.56.11/24 fd00:56::10/64; flannel.1 up 10.244.1.0/32; cni0 up 10.244.1.1/24. ' +
          'Name one that has what is missing with --iface',
      ),
    )
  })

  it('an interface that is down is taken, and said to be', () => {
    const interfaces = [nic('eth1', ['192.168.56.10/24'], { up: false })]
    expect(choose({ iface: ['eth1'] }, { interfaces, routes: [] }).reason).toBe(
      '--iface eth1, though it is down',
    )
  })

  it('an MTU of 0 and a missing address are errors', () => {
    const one = (facts: Partial<InterfaceFacts>, ...addresses: string[]) =>
      choose({ iface: ['e'] }, { interfaces: [nic('e', addresses, facts)], routes: [] })
    expect(() => one({ underlayMtu: 0 }, '10.0.0.1/8')).toThrow('e (--iface e): its MTU is 0')
    expect(() => one({})).toThrow(
      'e (--iface e): it has no ipv4 address to use. There are: e up without address',
    )
    expect(() => one({}, '127.0.0.1/8', '224.0.0.1/4')).toThrow('it has no ipv4 address to use')
  })
})

describe('of several addresses', () => {
  const best = (...addresses: InterfaceAddress[]) =>
    choose({ iface: ['e'] }, { interfaces: [{ ...nic('e', []), addresses }], routes: [] }, ['ipv6'])
      .localIps[0]
  const slaac = address('fd00::1/64', { permanent: false })
  const privacy = address('fd00::2/64', { permanent: false, temporary: true })
  const fixed = address('fd00::3/64')
  const linkLocal = address('fe80::1/64')

  it('permanent goes before dynamic, lasting before temporary, and link-local is never taken', () => {
    expect(best(linkLocal, privacy, slaac, fixed)).toBe('fd00::3')
    expect(best(linkLocal, privacy, slaac)).toBe('fd00::1')
    expect(best(linkLocal, privacy)).toBe('fd00::2')
    expect(() => best(linkLocal)).toThrow('it has no ipv6 address to use')
  })

  it("the kernel's order decides among equals", () => {
    expect(best(address('fd00::9/64'), fixed)).toBe('fd00::9')
  })

  it('a deprecated one is never taken, a tentative one only where there is no other', () => {
    expect(best(address('fd00::9/64', { deprecated: true }), slaac)).toBe('fd00::1')
    expect(best(address('fd00::9/64', { tentative: true }), privacy)).toBe('fd00::2')
    expect(best(address('fd00::9/64', { tentative: true }))).toBe('fd00::9')
  })
})

describe('of several IPv4 addresses', () => {
  const first = (routes: string[], ...addresses: InterfaceAddress[]) =>
    choose({}, { interfaces: [lo, { ...nic('eth0', []), addresses }], routes: routes.map(route) }).localIps[0]
  const vip = address('10.0.2.100/32')
  const dhcp = address('10.0.2.15/24', { permanent: false })

  it("the preferred source of the default route is the kernel's own answer", () => {
    const routes = ['0.0.0.0/0 via 10.0.2.2 dev eth0 src 10.0.2.16']
    expect(first(routes, dhcp, address('10.0.2.16/24'))).toBe('10.0.2.16')
    expect(first(routes, dhcp)).toBe('10.0.2.15')
  })

  it('one in the prefix of the gateway goes before the others', () => {
    expect(first(['0.0.0.0/0 via 10.0.2.2 dev eth0'], address('172.30.0.5/16'), dhcp)).toBe('10.0.2.15')
  })

  it('a virtual IP with /32 goes last beside a real prefix, and is taken alone', () => {
    expect(first(['0.0.0.0/0 via 10.0.2.2 dev eth0'], vip, dhcp)).toBe('10.0.2.15')
    expect(first(['0.0.0.0/0 dev eth0'], vip, dhcp)).toBe('10.0.2.15')
    expect(first(['0.0.0.0/0 dev eth0'], vip)).toBe('10.0.2.100')
  })

  it('240.0.0.0/4 is as good as any', () => {
    expect(first(['0.0.0.0/0 dev eth0'], address('240.0.0.5/24'))).toBe('240.0.0.5')
  })
})

describe("an address of the node's own on lo", () => {
  const loopback = nic('lo', ['127.0.0.1/8', '10.99.0.7/32'], { loopback: true, underlayMtu: 65536 })
  const interfaces = [loopback, eth0, eth1]
  const withSource = [route('0.0.0.0/0 via 10.0.2.2 dev eth0 src 10.99.0.7'), ...facts.routes.slice(1)]
  const expected = 'eth0 mtu 1500 public 10.99.0.7 local 10.99.0.7 on-link 10.0.2.0/24'

  it('is taken where the default route says so, with the MTU of the interface that carries it', () => {
    expect(print(choose({}, { interfaces, routes: withSource }))).toBe(expected)
  })

  it.each([
    ['--iface with the address', { iface: ['10.99.0.7'] }],
    ['--public-ip', { publicIps: publicIps('10.99.0.7') }],
    ['--iface lo', { iface: ['lo'] }],
  ])('is taken with %s, over the interface of the default route', (_, wish) => {
    expect(print(choose(wish, { interfaces, routes: facts.routes }))).toBe(expected)
  })

  it('is nothing where no interface has a default route', () => {
    expect(() => choose({ iface: ['lo'] }, { interfaces, routes: [] })).toThrow('it carries no packets')
  })
})

describe('on-link prefixes', () => {
  it('are connected ones of the interface, once each, and no default route', () => {
    const routes = [
      route('10.0.2.0/24 dev eth0'),
      route('10.0.2.0/24 dev eth0 metric 100'),
      route('0.0.0.0/0 dev eth0'),
      route('10.9.0.0/16 via 10.0.2.1 dev eth0'),
      route('10.8.0.0/16 dev eth1'),
      route('fd00:2::/64 dev eth0'),
    ]
    expect(choose({ iface: ['eth0'] }, { ...facts, routes }).onLink).toEqual(['10.0.2.0/24'])
  })
})

function choose(
  wish: Partial<UnderlayWish>,
  from = facts,
  families: readonly Family[] = ['ipv4'],
): UnderlayChoice {
  const none = { iface: [], ifaceRegex: [], ifaceCanReach: undefined, publicIps: publicIps() }
  return chooseUnderlay(families, from, { ...none, ...wish })
}

function print({ name, underlayMtu, publicIps, localIps, onLink }: UnderlayChoice): string {
  return `${name} mtu ${underlayMtu} public ${publicIps.join(' + ')} local ${localIps.join(' + ')} on-link ${onLink.join(' ')}`
}

function publicIps(...texts: string[]): PublicIps {
  const ips = texts.map(parseIp)
  const of = (family: Family) => ips.find(ip => familyOf(ip) === family)
  return { ipv4: of('ipv4'), ipv6: of('ipv6') }
}

function nic(name: string, addresses: string[], more: Partial<InterfaceFacts> = {}): InterfaceFacts {
  const plain = { index: 1, name, underlayMtu: 1500, up: true, loopback: false, vxlan: undefined }
  return { ...plain, addresses: addresses.map(text => address(text)), ...more }
}

function address(text: string, more: Partial<InterfaceAddress> = {}): InterfaceAddress {
  const [ip = '', length = ''] = text.split('/')
  const parsed = parseIp(ip)
  const scope = scopeOf(parsed) === 'link-local' ? 'link' : 'global'
  const flags = { permanent: true, deprecated: false, temporary: false, tentative: false }
  return { address: parsed, length: Number(length), scope, ...flags, ...more }
}

/** As `ip route` prints it. */
function route(text: string): RouteFacts {
  const [dst = '', ...words] = text.split(' ')
  const after = (word: string) => (words.includes(word) ? words[words.indexOf(word) + 1] : undefined)
  const [via, src] = [after('via'), after('src')]
  return {
    dst: parsePrefix(dst),
    via: via === undefined ? undefined : parseIp(via),
    dev: after('dev') ?? '',
    metric: Number(after('metric') ?? 0),
    protocol: 2,
    src: src === undefined ? undefined : parseIp(src),
  }
}
