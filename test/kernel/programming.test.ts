import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { printEntry } from '../../agent/state/print.ts'
import { adding } from '../contract/kernel.ts'
import { entries, entry } from '../support/entries.ts'
import { OwnBed } from '../support/kernel_bed.ts'
import { enterOwnNetns } from '../support/own_netns.ts'

const whyNot = await enterOwnNetns()
const signal = new AbortController().signal
const scope = { devices: ['flannel.1', 'flannel-v6.1'], routeProtocol: 117 }

describe.skipIf(whyNot !== undefined)(`what iproute2 shows of what was programmed ${whyNot ?? ''}`, () => {
  let bed: OwnBed
  beforeEach(async () => {
    bed = await OwnBed.make()
  })
  afterEach(() => bed.close())

  const add = async (text: string) => {
    const results = await bed.kernel.apply(adding(entries(text)), signal)
    expect(results.flatMap(({ error }) => (error === undefined ? [] : [error.message]))).toEqual([])
  }
  const listed = async () => (await bed.kernel.snapshot(scope, signal)).map(printEntry).sort()

  test('one peer over IPv4, as flanneld leaves it', async () => {
    await add(`
      link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning
      address 10.1.1.0/32 dev flannel.1
      fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2
      neighbor 10.1.2.0 dev flannel.1 lladdr 02:00:00:00:00:02
      route 10.1.2.0/24 via 10.1.2.0 dev flannel.1 onlink`)
    const device = bed.ip('-d link show dev flannel.1')
    expect(device).toMatch(/flannel\.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 /)
    expect(device).toContain('link/ether 02:00:00:00:00:01 ')
    expect(device).toContain(
      'vxlan id 1 local 192.168.0.1 dev eth0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx addrgenmode eui64',
    )
    expect(bed.ip('-4 -br address show dev flannel.1')).toMatch(/^flannel\.1 +UNKNOWN +10\.1\.1\.0\/32$/)
    expect(bed.ip('-4 address show dev flannel.1')).toContain('inet 10.1.1.0/32 scope global flannel.1')
    expect(bed.ip('route show dev flannel.1')).toBe('10.1.2.0/24 via 10.1.2.0 onlink')
    expect(bed.ip('neigh show dev flannel.1')).toBe('10.1.2.0 lladdr 02:00:00:00:00:02 PERMANENT')
    expect(bed.bridge('fdb show dev flannel.1')).toBe('02:00:00:00:00:02 dst 192.168.0.2 self permanent')
    expect(bed.ip('route get 10.1.2.9')).toContain('10.1.2.9 via 10.1.2.0 dev flannel.1 src 10.1.1.0')
  })

  test('one peer over IPv6', async () => {
    await add(`
      link flannel-v6.1 mtu 1430 state UP address 02:00:00:00:00:01 vxlan id 1 local6 fd00::1 dev eth0 dstport 8472 nolearning
      address fd01:1::/128 dev flannel-v6.1
      fdb 02:00:00:00:00:02 dev flannel-v6.1 dst fd00::2
      neighbor fd01:2:: dev flannel-v6.1 lladdr 02:00:00:00:00:02
      route fd01:2::/64 via fd01:2:: dev flannel-v6.1 metric 1024 onlink`)
    expect(bed.ip('-d link show dev flannel-v6.1')).toContain(
      'vxlan id 1 local fd00::1 dev eth0 srcport 0 0 dstport 8472 nolearning ',
    )
    expect(bed.ip('-6 address show dev flannel-v6.1')).toMatch(/inet6 fd01:1::\/128 scope global/)
    expect(bed.ip('-6 address show dev flannel-v6.1')).toMatch(/inet6 fe80::ff:fe00:1\/64 scope link/)
    expect(bed.ip('-6 route show dev flannel-v6.1 proto boot')).toBe(
      'fd01:2::/64 via fd01:2:: metric 1024 onlink pref medium',
    )
    expect(bed.ip('-6 neigh show dev flannel-v6.1 nud permanent')).toBe(
      'fd01:2:: lladdr 02:00:00:00:00:02 PERMANENT',
    )
    expect(bed.bridge('fdb show dev flannel-v6.1')).toBe('02:00:00:00:00:02 dst fd00::2 self permanent')
  })

  test('our routes elsewhere, and blackholes', async () => {
    await add(`
      route 10.1.3.0/24 via 192.168.0.3 dev eth0 proto 117
      route fd01:3::/64 via fd00::3 dev eth0 proto 117 metric 1024
      route blackhole 10.1.0.0/16 proto 117
      route blackhole fd01::/48 proto 117 metric 1024`)
    expect(bed.ip('route show proto 117')).toBe('blackhole 10.1.0.0/16\n10.1.3.0/24 via 192.168.0.3 dev eth0')
    expect(bed.ip('-6 route show proto 117')).toBe(
      'blackhole fd01::/48 dev lo metric 1024 pref medium\nfd01:3::/64 via fd00::3 dev eth0 metric 1024 pref medium',
    )
  })

  test("a blackhole route for the own subnet, which the bridge's own route wins over", async () => {
    await add('route blackhole 10.1.1.0/24 proto 117 metric 4294967040')
    expect(() => bed.ip('route get 10.1.1.9')).toThrow('Invalid argument')
    bed.batch(['link add cni0 type bridge', 'link set cni0 up', 'address add 10.1.1.1/24 dev cni0'])
    expect(bed.ip('route get 10.1.1.9')).toContain('10.1.1.9 dev cni0')
  })

  test("a route is not added where a bridge's own stands, and the bridge is named", async () => {
    await add(
      'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning',
    )
    bed.batch(['link add docker7 type bridge', 'link set docker7 up', 'address add 10.1.2.1/24 dev docker7'])
    const wanted = adding([entry('route 10.1.2.0/24 via 10.1.2.0 dev flannel.1 onlink')])
    const refusal = async () => (await bed.kernel.apply(wanted, signal))[0]?.error?.message
    expect(await refusal()).toBe(
      "Cannot add route 10.1.2.0/24 via 10.1.2.0 dev flannel.1 onlink: bridge docker7 has an address in this subnet, and the kernel's own route for it stands there ('route 10.1.2.0/24 dev docker7 proto kernel') (EEXIST)",
    )
    bed.ip('link delete docker7')
    expect(await refusal()).toBeUndefined()
  })

  test('router advertisements are not taken from the tunnel', async () => {
    await add(
      'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning',
    )
    const { readFileSync } = await import('node:fs')
    expect(readFileSync('/proc/sys/net/ipv6/conf/flannel.1/accept_ra', 'latin1')).toBe('0\n')
  })

  test('what the operator and the kernel put beside ours is told from it', async () => {
    const device =
      'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning'
    await add(device)
    bed.batch([
      'address add 10.1.1.5/24 dev flannel.1', // and with it a route of proto kernel
      'route add 10.7.0.0/16 via 192.168.0.7', // boot, but not on one of our devices
      'route add 10.6.0.0/16 via 10.1.1.9 dev flannel.1 proto static metric 50',
      'route add 10.5.0.0/16 table 100 dev flannel.1',
      'route add unreachable 10.4.0.0/16',
      'route add 10.3.0.0/16 nexthop via 192.168.0.7 nexthop via 10.1.1.8 dev flannel.1',
      'route add fd07::/64 via fd00::7 dev eth0',
      'neigh add fd01:1::77 lladdr 02:00:00:00:00:77 dev flannel.1 nud reachable',
      'neigh add 192.168.0.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent',
    ])
    expect(await listed()).toEqual([
      'address 10.1.1.5/24 dev flannel.1',
      device,
      'route 10.3.0.0/16',
      'route 10.6.0.0/16 via 10.1.1.9 dev flannel.1 proto static metric 50',
    ])
  })

  test('a route over several paths that replaces ours is replaced, and can be removed', async () => {
    await add(
      'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning',
    )
    const ours = 'route 10.1.2.0/24 via 10.1.2.0 dev flannel.1 onlink'
    const replaced =
      'route replace 10.1.2.0/24 nexthop via 192.168.0.7 nexthop via 10.1.2.0 dev flannel.1 onlink'
    bed.ip(replaced)
    await add(ours)
    expect(bed.ip('route show 10.1.2.0/24')).toBe('10.1.2.0/24 via 10.1.2.0 dev flannel.1 onlink')

    bed.ip(replaced)
    const theirs = (await bed.kernel.snapshot(scope, signal)).filter(({ kind }) => kind === 'route')
    expect(theirs.map(printEntry)).toEqual(['route 10.1.2.0/24'])
    const operations = theirs.map(entry => ({ verb: 'delete' as const, entry }))
    expect((await bed.kernel.apply(operations, signal))[0]?.error).toBeUndefined()
    expect(bed.ip('route show 10.1.2.0/24')).toBe('')
  })

  test('what the kernel refuses is said in its own words', async () => {
    await add(
      'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning',
    )
    const results = await bed.kernel.apply(
      adding(
        entries(`
          route 10.9.0.0/24 via 7.7.7.7 dev flannel.1
          route fd09::/64 via fd00::1 dev eth0 metric 1024`),
      ),
      signal,
    )
    expect(results.map(({ error }) => error?.message)).toEqual([
      'Cannot add route 10.9.0.0/24 via 7.7.7.7 dev flannel.1: Nexthop has invalid gateway (ENETUNREACH)',
      'Cannot add route fd09::/64 via fd00::1 dev eth0 metric 1024: Gateway can not be a local address (EINVAL)',
    ])
  })

  test('five thousand peers stand as asked for, and go again', async () => {
    const device =
      'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning'
    const peers = Array.from({ length: 5000 }, (_, i) => {
      const [high, low] = [i >> 8, i & 255]
      const hex = (n: number) => n.toString(16).padStart(2, '0')
      return {
        net: `10.${1 + high}.${low}.0`,
        mac: `02:00:00:01:${hex(high)}:${hex(low)}`,
        vtep: `172.16.${high}.${low}`,
      }
    })
    const text = [
      device,
      ...peers.map(({ mac, vtep }) => `fdb ${mac} dev flannel.1 dst ${vtep}`),
      ...peers.map(({ net, mac }) => `neighbor ${net} dev flannel.1 lladdr ${mac}`),
      ...peers.map(({ net }) => `route ${net}/24 via ${net} dev flannel.1 onlink`),
    ].join('\n')
    await add(text)
    expect(await listed()).toEqual(text.split('\n').sort())
    const gone = entries(text).reverse().slice(0, -1)
    await bed.kernel.apply(
      gone.map(entry => ({ verb: 'delete', entry })),
      signal,
    )
    expect(await listed()).toEqual([device])
  })
})
