import { expect, it } from 'vitest'
import type { InterfaceFacts } from '../../../agent/state/underlay_facts.ts'
import { deviceSubnets } from '../../../agent/underlay/device_subnets.ts'
import { parseIp, scopeOf } from '../../../lease/net/ip.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'

const network = parseNetworkConfig(
  '{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd10::/48","Backend":{"Type":"vxlan"}}',
)
const devices = ['flannel.1', 'flannel-v6.1']

it.each([
  [
    'of both families are named by the devices',
    ['10.244.7.0/32'],
    ['fd10:0:0:7::/128', 'fe80::1/64'],
    '10.244.7.0/24 fd10:0:0:7::/64',
  ],
  [
    'are not named by an address that another program added',
    ['10.244.7.0/32', '10.244.9.5/16', '10.244.9.6/32'],
    [],
    '10.244.7.0/24',
  ],
  ['of another network are none', ['10.99.3.0/32'], ['fd99::/128'], ''],
  ['are none where no device has an address', [], [], ''],
])('subnets %s', (_, four, six, expected) => {
  const interfaces = [nic('flannel.1', four), nic('flannel-v6.1', six), nic('eth0', ['10.244.8.0/32'])]
  expect(deviceSubnets(interfaces, devices, network).join(' ')).toBe(expected)
})

function nic(name: string, addresses: readonly string[]): InterfaceFacts {
  const list = addresses.map(text => {
    const address = parseIp(text.slice(0, text.indexOf('/')))
    const length = Number(text.slice(text.indexOf('/') + 1))
    const flags = { permanent: true, deprecated: false, temporary: false, tentative: false }
    return {
      address,
      length,
      scope: scopeOf(address) === 'link-local' ? ('link' as const) : ('global' as const),
      ...flags,
    }
  })
  return { index: 1, name, underlayMtu: 1450, up: true, loopback: false, vxlan: undefined, addresses: list }
}
