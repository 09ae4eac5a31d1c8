import { expect, it } from 'vitest'
import { staleRoutes } from '../../../agent/diagnose/stale_routes.ts'
import type { RouteFacts } from '../../../agent/state/underlay_facts.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'
import { entry } from '../../support/entries.ts'

/** RTPROT_BOOT, as `ip route add` and flanneld write. */
const BOOT = 3
const network = parseNetworkConfig('{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}')

function route(dst: string, others: Partial<RouteFacts> = {}): RouteFacts {
  const via = parseIp('192.168.0.9')
  return { dst: parsePrefix(dst), via, dev: 'eth0', protocol: BOOT, metric: 0, ...others } as RouteFacts
}

it('names what a flanneld may have left: into the network, over the external interface, to no peer', () => {
  const peer = entry('route 10.244.2.0/24 via 192.168.0.2 dev eth0')
  const routes = [
    route('10.244.7.0/24'),
    route('10.244.2.0/24'),
    route('10.244.8.0/24', { dev: 'eth1' }),
    route('10.244.9.0/24', { protocol: 186 }),
    route('10.244.0.0/16'),
    route('10.9.0.0/24'),
    route('10.244.10.0/24', { via: undefined }),
  ]
  const stale = staleRoutes(routes, network, 'eth0', new Map([['route 10.244.2.0/24', peer]]))
  expect(stale.map(({ dst }) => dst)).toEqual(['10.244.7.0/24'])
})
