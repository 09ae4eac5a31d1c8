import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { requireNetAdmin } from '../../agent/kernel/capability.ts'
import { parseIp } from '../../lease/net/ip.ts'
import { OwnBed } from '../support/kernel_bed.ts'
import { enterOwnNetns } from '../support/own_netns.ts'

const whyNot = await enterOwnNetns()
const signal = new AbortController().signal
const scope = { devices: ['flannel.1'], routeProtocol: 117 }

describe.skipIf(whyNot !== undefined)(`what an external interface is chosen from ${whyNot ?? ''}`, () => {
  let bed: OwnBed
  beforeEach(async () => {
    bed = await OwnBed.make()
  })
  afterEach(() => bed.close())

  test('interfaces with their addresses, in the order of the kernel', async () => {
    bed.ip('address add 192.168.0.2/24 dev eth0')
    bed.ip('-6 address add fd00::9/64 dev eth0 nodad preferred_lft 0')
    bed.ip('-6 address add fd00::8/64 dev eth0 nodad valid_lft 300 preferred_lft 200')
    bed.ip('link set eth1 mtu 1400')
    bed.ip('link set eth1 down')
    bed.ip('link add vx type vxlan id 7 dstport 4789 dev eth0')
    const interfaces = await bed.kernel.listInterfaces(signal)
    const words = interfaces.map(({ name, up, underlayMtu, loopback, vxlan, addresses }) =>
      [
        `${name} ${up ? 'up' : 'down'} ${underlayMtu}`,
        ...(loopback ? ['loopback'] : []),
        ...(vxlan ? [`vni ${vxlan.vni} port ${vxlan.port}`] : []),
        ...addresses
          .filter(({ scope }) => scope !== 'link')
          .map(({ address, length, scope, permanent, deprecated, temporary, tentative }) =>
            [
              `${address}/${length} ${scope}`,
              ...(permanent ? [] : ['dynamic']),
              ...(deprecated ? ['deprecated'] : []),
              ...(temporary ? ['temporary'] : []),
              ...(tentative ? ['tentative'] : []),
            ].join(' '),
          ),
      ].join(', '),
    )
    expect(words.filter(line => !line.startsWith('peer')).sort()).toEqual([
      'eth0 up 1500, 192.168.0.1/24 global, 192.168.0.2/24 global, fd00::8/64 global dynamic, fd00::9/64 global deprecated, fd00::1/64 global',
      'eth1 down 1400, 192.168.9.1/24 global',
      'lo up 65536, loopback, 127.0.0.1/8 host, ::1/128 host',
      'vx down 1450, vni 7 port 4789',
    ])
  })

  test('routes that are not ours', async () => {
    bed.batch([
      'route add default via 192.168.0.254 metric 100',
      'route add 172.16.0.0/12 nexthop via 192.168.0.253 nexthop via 192.168.9.253',
      'route add 10.1.7.0/24 via 192.168.0.7 proto 117',
      'route add 10.9.0.0/16 via inet6 fd00::254 dev eth0',
      'route add blackhole 10.8.0.0/16',
    ])
    bed.ip('-6 route add default via fd00::254 dev eth0')
    const routes = await bed.kernel.listRoutes(scope, signal)
    const words = routes
      .filter(({ dst }) => !dst.startsWith('fe80'))
      .map(({ dst, via, dev, metric, src }) =>
        [dst, ...(via ? ['via', via] : []), 'dev', dev, 'metric', metric, ...(src ? ['src', src] : [])].join(
          ' ',
        ),
      )
    expect(words).toEqual([
      '0.0.0.0/0 via 192.168.0.254 dev eth0 metric 100',
      '10.9.0.0/16 via fd00::254 dev eth0 metric 0',
      '172.16.0.0/12 via 192.168.0.253 dev eth0 metric 0',
      '192.168.0.0/24 dev eth0 metric 0 src 192.168.0.1',
      '192.168.9.0/24 dev eth1 metric 0 src 192.168.9.1',
      'fd00::/64 dev eth0 metric 256',
      '::/0 via fd00::254 dev eth0 metric 1024',
    ])
  })

  test('the way to one address', async () => {
    bed.ip('route add 10.7.0.0/16 via 192.168.0.254')
    bed.ip('route add blackhole 10.8.0.0/16')
    const to = (text: string) => bed.kernel.routeTo(parseIp(text), signal)
    expect(await to('192.168.9.7')).toEqual({ dev: 'eth1', via: undefined, src: '192.168.9.1' })
    expect(await to('10.7.1.1')).toEqual({ dev: 'eth0', via: '192.168.0.254', src: '192.168.0.1' })
    expect(await to('fd00::7')).toEqual({ dev: 'eth0', via: undefined, src: 'fd00::1' })
    expect(await to('192.168.0.1')).toMatchObject({ dev: 'lo' })
    expect(await to('10.8.1.1')).toBeUndefined()
    expect(await to('1.1.1.1')).toBeUndefined()
    expect(await to('2001:db8::1')).toBeUndefined()
  })
})

describe('the right to change the network', () => {
  test('is told by the effective capabilities', () => {
    expect(() => requireNetAdmin('Name:\tnode\nCapEff:\t0000000000001000\n')).not.toThrow()
    expect(() => requireNetAdmin('CapEff:\t0000000000000fff\n')).toThrow(
      /without the capability CAP_NET_ADMIN/,
    )
    expect(() => requireNetAdmin('')).toThrow(/no CapEff/)
  })
})
