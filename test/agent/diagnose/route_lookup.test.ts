import { expect, test } from 'vitest'
import type { HostFacts } from '../../../agent/diagnose/host_facts.ts'
import { lookUp, printTableRoute } from '../../../agent/diagnose/route_lookup.ts'
import { parseRoutes, parseRules } from '../../../agent/inspect/iproute2_json.ts'
import { parseIp } from '../../../lease/net/ip.ts'

const rules = [
  ...parseRules([{ priority: 0, src: 'all', table: 'local' }], 'ipv4'),
  ...parseRules([{ priority: 10, src: 'all', table: 'vpn', suppress_prefixlength: 0 }], 'ipv4'),
  ...parseRules([{ priority: 32766, src: 'all', table: 'main' }], 'ipv4'),
  ...parseRules([{ priority: 32766, src: 'all', table: 'main' }], 'ipv6'),
]
const routes = [
  ...parseRoutes(
    [
      { type: 'local', dst: '192.168.0.1', dev: 'eth0', table: 'local' },
      { dst: 'default', gateway: '10.99.0.1', dev: 'tun0', table: 'vpn' },
      { dst: 'default', gateway: '192.168.0.254', dev: 'eth0', metric: 100 },
      { dst: 'default', gateway: '192.168.0.253', dev: 'wlan0', metric: 600 },
      { dst: '10.0.0.0/8', dev: 'eth1', metric: 20 },
      { dst: '10.0.0.0/8', dev: 'eth2', metric: 10 },
      { dst: '10.0.0.0/8', dev: 'eth3', metric: 10 },
      { dst: '10.1.0.0/16', dev: 'eth4', flags: ['dead'] },
      { dst: '10.2.0.0/16', dev: 'eth5' },
      { type: 'blackhole', dst: '10.2.3.4' },
    ],
    'ipv4',
  ),
  ...parseRoutes([{ dst: 'fd00::/64', dev: 'eth0' }], 'ipv6'),
]
const facts = { rules, routes } as unknown as HostFacts

test.each([
  ['192.168.0.1', 'local 192.168.0.1/32 dev eth0 table local'],
  ['8.8.8.8', '0.0.0.0/0 via 192.168.0.254 dev eth0 metric 100'],
  ['10.9.9.9', '10.0.0.0/8 dev eth2 metric 10'],
  ['10.1.1.1', '10.0.0.0/8 dev eth2 metric 10'],
  ['10.2.3.5', '10.2.0.0/16 dev eth5'],
  ['10.2.3.4', 'blackhole 10.2.3.4/32'],
  ['fd00::7', 'fd00::/64 dev eth0'],
  ['fd01::7', undefined],
])(
  'a packet to %s takes the longest prefix, then the lowest metric, of what is not dead: %s',
  (dst, text) => {
    const { route } = lookUp(facts, { src: undefined, dst: parseIp(dst), iif: undefined })
    expect(route && printTableRoute(route)).toBe(text)
  },
)

test.each([
  [undefined, 'main'],
  [0x7, 'marked'],
  [0x107, 'marked'],
  [0x6, 'main'],
])('a mark of the firewall chooses the table by its mask: %s', (mark, table) => {
  const marked = parseRules(
    [{ priority: 5, src: 'all', table: 'marked', fwmark: '0x7', fwmask: '0xff' }],
    'ipv4',
  )
  const all = [...routes, ...parseRoutes([{ dst: 'default', dev: 'wg0', table: 'marked' }], 'ipv4')]
  const { rule } = lookUp(
    { ...facts, rules: [...marked, ...rules], routes: all },
    {
      src: undefined,
      dst: parseIp('8.8.8.8'),
      iif: undefined,
      mark,
    },
  )
  expect(rule?.table).toBe(table)
})
