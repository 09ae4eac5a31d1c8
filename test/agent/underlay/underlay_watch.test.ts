import { beforeEach, describe, expect, it } from 'vitest'
import type { UnderlaySource } from '../../../agent/kernel/kernel.ts'
import type { InterfaceAddress, InterfaceFacts, RouteFacts } from '../../../agent/state/underlay_facts.ts'
import { UnderlayWatch } from '../../../agent/underlay/underlay_watch.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'
import { RecordingLog } from '../../support/log.ts'

const network = parseNetworkConfig('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}')
const { signal } = new AbortController()

function address(text: string): InterfaceAddress {
  const [ip = '', length] = text.split('/')
  const flags = { permanent: true, deprecated: false, temporary: false, tentative: false }
  return { address: parseIp(ip), length: Number(length), scope: 'global', ...flags }
}

function nic(name: string, ...addresses: string[]): InterfaceFacts {
  const plain = { underlayMtu: 1500, up: true, loopback: false, vxlan: undefined }
  const index = { eth0: 2, tun0: 3, br0: 4 }[name] ?? 9
  return { index, name, ...plain, addresses: addresses.map(address) }
}

function byDefault(dev: string, metric = 100): RouteFacts {
  return { dst: parsePrefix('0.0.0.0/0'), via: undefined, dev, metric, protocol: 16, src: undefined }
}

describe('a watch on the underlay', () => {
  let interfaces: InterfaceFacts[]
  let routes: RouteFacts[]
  let log: RecordingLog
  let watch: UnderlayWatch
  let nowMs: number
  beforeEach(async () => {
    interfaces = [nic('eth0', '192.168.0.1/24')]
    routes = [byDefault('eth0')]
    nowMs = 0
    log = new RecordingLog()
    watch = await choose()
  })

  const choose = async (...iface: string[]) => {
    const kernel: UnderlaySource = {
      listInterfaces: async () => interfaces,
      listRoutes: async () => routes,
      routeTo: async () => undefined,
    }
    const publicIps = { ipv4: undefined, ipv6: undefined }
    const wish = { iface, ifaceRegex: [], ifaceCanReach: undefined, publicIps }
    const scope = { devices: [], routeProtocol: 117 }
    const rest = { endpoints: [], patienceMs: 10_000, log, now: () => nowMs }
    const chosen = new UnderlayWatch({ kernel, scope, network, wish, ...rest })
    await chosen.choose(signal)
    return chosen
  }

  /** What another look comes to: `eth0 192.168.0.1` where the choice moved, undefined where it stays. */
  const review = async () => {
    const choice = await watch.review(signal)
    return choice && `${choice.name} ${choice.localIps}`
  }

  it('is silent while nothing changes', async () => {
    expect(await review()).toBeUndefined()
    expect(log.lines).toHaveLength(1)
  })

  it('follows another MTU, another name of the same interface and other on-link prefixes', async () => {
    interfaces = [{ ...nic('eth0', '192.168.0.1/24'), underlayMtu: 1400 }]
    expect(await watch.review(signal)).toMatchObject({ underlayMtu: 1400 })
    interfaces = [{ ...nic('lan0', '192.168.0.1/24'), index: 2, underlayMtu: 1400 }]
    expect(await review()).toBe('lan0 192.168.0.1')
    expect(await review()).toBeUndefined()
    const said = log.lines.length
    routes = [...routes, { ...byDefault('lan0'), dst: parsePrefix('192.168.0.0/24') }]
    expect(await watch.review(signal)).toMatchObject({ onLink: ['192.168.0.0/24'] })
    expect(log.lines).toHaveLength(said)
  })

  it('stays with what stands, whatever would be better, and says so once', async () => {
    interfaces = [nic('eth0', '192.168.0.1/24'), nic('tun0', '10.8.0.2/24')]
    routes = [byDefault('tun0', 0), byDefault('eth0')]
    expect([await review(), await review()]).toEqual([undefined, undefined])
    const said = log.said('would be chosen as external interface at the next start')
    expect(said).toHaveLength(1)
    expect(JSON.stringify(said)).toContain('tun0 with 10.8.0.2')
    expect(watch.trouble).toBeUndefined()
  })

  it('follows a renumbered interface at once, in either order of the two commands', async () => {
    interfaces = [nic('eth0', '192.168.0.77/24')]
    expect(await review()).toBe('eth0 192.168.0.77')
    interfaces = [nic('eth0', '192.168.0.77/24', '192.168.0.78/24')]
    expect(await review()).toBeUndefined()
    interfaces = [nic('eth0', '192.168.0.78/24')]
    expect(await review()).toBe('eth0 192.168.0.78')
  })

  it('follows the same address to another interface at once', async () => {
    interfaces = [nic('eth0'), nic('br0', '192.168.0.1/24')]
    routes = [byDefault('br0')]
    expect(await review()).toBe('br0 192.168.0.1')
  })

  it('does so before the default route follows, and past an older address that stays', async () => {
    interfaces = [nic('eth0', '192.168.0.1/24', '192.168.0.2/24')]
    watch = await choose()
    interfaces = [nic('eth0', '192.168.0.2/24'), nic('br0', '192.168.0.1/24')]
    expect(await review()).toBe('br0 192.168.0.1')
    routes = []
    interfaces = [nic('eth0', '192.168.0.1/24'), nic('br0')]
    expect(await review()).toBe('eth0 192.168.0.1')
    expect(log.said('at the next start')).toEqual([])
  })

  it('does so where a flag names the interface that it left, and warns once of the next start', async () => {
    watch = await choose('eth0')
    interfaces = [nic('eth0'), nic('br0', '192.168.0.1/24')]
    expect(await review()).toBe('br0 192.168.0.1')
    expect([await review(), await review()]).toEqual([undefined, undefined])
    expect(watch.trouble).toBeUndefined()
    expect(log.said('no external interface would be found at the next start')).toHaveLength(1)
    interfaces = [nic('eth0', '192.168.0.1/24'), nic('br0')]
    expect(await review()).toBe('eth0 192.168.0.1')
  })

  it.each([
    ['a virtual IP', () => [nic('eth0', '192.168.0.100/32')], 'eth0 192.168.0.100'],
    ['another interface', () => [nic('tun0', '10.8.0.2/24')], 'tun0 10.8.0.2'],
  ])('takes %s only when the address has been away for longer than a flap', async (_, next, place) => {
    interfaces = next()
    routes = [byDefault('tun0'), byDefault('eth0')]
    expect([await review(), watch.againInMs]).toEqual([undefined, 10_000])
    expect(watch.trouble).toMatch(
      /^external interface eth0 with 192\.168\.0\.1 is gone; .* once it has been away for 10 s$/,
    )
    nowMs = 9_999
    expect([await review(), watch.againInMs]).toEqual([undefined, 1])
    nowMs = 10_000
    expect([await review(), watch.againInMs]).toEqual([place, Number.POSITIVE_INFINITY])
    expect(watch.trouble).toBeUndefined()
    interfaces = [...next(), nic('eth0', '192.168.0.1/24')].reverse()
    expect(await review()).toBe('eth0 192.168.0.1')
  })

  it('waits for an address that flaps, also where an older one stands beside it', async () => {
    interfaces = [nic('eth0', '192.168.0.1/24', '192.168.0.2/24')]
    await watch.choose(signal)
    interfaces = [nic('eth0', '192.168.0.2/24')]
    expect(await review()).toBeUndefined()
    nowMs = 5_000
    interfaces = [nic('eth0', '192.168.0.2/24', '192.168.0.1/24')]
    expect([await review(), watch.trouble, watch.againInMs]).toEqual([
      undefined,
      undefined,
      Number.POSITIVE_INFINITY,
    ])
    nowMs = 14_000
    interfaces = [nic('eth0', '192.168.0.2/24')]
    expect([await review(), watch.againInMs]).toEqual([undefined, 10_000])
  })

  it('keeps its choice while there is none, says so once, and is well again by itself', async () => {
    interfaces = []
    expect([await review(), await review()]).toEqual([undefined, undefined])
    expect(watch.trouble).toMatch(/^Cannot choose an external interface/)
    expect(log.lines.filter(({ level }) => level === 'error')).toHaveLength(1)
    interfaces = [nic('eth0', '192.168.0.1/24')]
    expect(await review()).toBeUndefined()
    expect(watch.trouble).toBeUndefined()
  })
})
