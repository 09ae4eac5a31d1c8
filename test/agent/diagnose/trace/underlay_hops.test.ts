import { expect, it } from 'vitest'
import { ownAddressHop, underlayReversePathHop } from '../../../../agent/diagnose/trace/underlay_hops.ts'
import type { Walk } from '../../../../agent/diagnose/trace/walk.ts'
import { parseLinks, parseRoutes, parseRules } from '../../../../agent/inspect/iproute2_json.ts'
import { parseIp } from '../../../../lease/net/ip.ts'
import { hostFacts, nodeView } from '../../../support/patient.ts'

const links = parseLinks([
  { ifname: 'lo', addr_info: [{ local: '127.0.0.1', prefixlen: 8 }] },
  { ifname: 'eth0', addr_info: [{ local: '192.168.0.1', prefixlen: 24 }] },
])
const main = parseRules([{ priority: 32766, src: 'all', table: 'main' }], 'ipv4')
const rules = [...parseRules([{ priority: 0, src: 'all', table: 'local' }], 'ipv4'), ...main]
const routes = parseRoutes(
  [
    { type: 'local', dst: '192.168.0.1', dev: 'eth0', table: 'local' },
    { dst: '192.168.0.0/24', dev: 'eth0' },
  ],
  'ipv4',
)
const walk = (facts: Parameters<typeof hostFacts>[0]) =>
  ({
    ...nodeView(),
    facts: hostFacts({ links, rules, routes, ...facts }),
    peerIp: parseIp('192.168.0.2'),
  }) as unknown as Walk

it('sees that nothing which comes to this host is delivered, without the rule for its addresses', () => {
  expect(ownAddressHop(walk({}))).toBeUndefined()
  expect(ownAddressHop(walk({ rules: main }))).toMatchObject({
    step: 'own address',
    state: 'broken',
    used: '192.168.0.0/24 dev eth0',
  })
  // Behind NAT.
  expect(ownAddressHop(walk({ rules: main, links: [] }))).toBeUndefined()
})

it.each([
  ['another interface leads to the peer, and packets were dropped', '1', 'eth1', 7, 'broken'],
  ['the same, but none was dropped yet', '1', 'eth1', 0, 'unknown'],
  ['filtering is loose', '2', 'eth1', 7, undefined],
  ['the same interface leads to it', '1', 'eth0', 7, undefined],
])('knows strict filtering of the reverse path: %s', (_, value, dev, reversePathDrops, state) => {
  const way = parseRoutes([{ dst: '192.168.0.2', dev }], 'ipv4')
  const sysctls = { 'net.ipv4.conf.all.rp_filter': '0', 'net.ipv4.conf.eth0.rp_filter': value }
  const hop = underlayReversePathHop(walk({ routes: [...routes, ...way], sysctls, reversePathDrops }))
  expect(hop?.state).toBe(state)
})
