import { expect, it } from 'vitest'
import { withBlackholeRoute } from '../../../agent/backend/blackhole_route.ts'
import { vxlan } from '../../../agent/backend/vxlan.ts'
import { printEntry } from '../../../agent/state/print.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'
import { vxlanLease } from '../../support/leases.ts'

it('adds to the own entries a blackhole route for each own subnet, which any other route wins over', () => {
  const backend = withBlackholeRoute(
    vxlan(
      parseNetworkConfig(
        '{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":{"Type":"vxlan"}}',
      ),
    ),
  )
  const self = vxlanLease(
    'h1',
    '02:00:00:00:00:01',
    '10.244.1.0/24 at 192.168.0.1',
    'fd00:10:0:1::/64 at fd00::1',
  )
  const ips = [parseIp('192.168.0.1'), parseIp('fd00::1')]
  const onLink = [parsePrefix('192.168.0.0/24')]
  const underlay = { name: 'eth0', underlayMtu: 1500, publicIps: ips, localIps: ips, onLink }
  expect(backend.ownEntries(self, underlay).slice(-2).map(printEntry)).toEqual([
    'route blackhole 10.244.1.0/24 proto 117 metric 4294967040',
    'route blackhole fd00:10:0:1::/64 proto 117 metric 4294967040',
  ])
})
