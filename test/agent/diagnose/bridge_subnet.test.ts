import { expect, it } from 'vitest'
import { bridgeTrouble } from '../../../agent/diagnose/bridge_subnet.ts'
import type { InterfaceFacts } from '../../../agent/state/underlay_facts.ts'
import { familyOf, parseIp } from '../../../lease/net/ip.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'

const network = parseNetworkConfig(
  '{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd10:244::/32","IPv6SubnetLen":64}',
)
const self = {
  node: '10.244.9.0-24',
  backendType: 'vxlan',
  since: 1,
  subnets: ['10.244.9.0/24', 'fd10:244:0:9::/64'].map(text => ({
    prefix: parsePrefix(text),
    publicIp: parseIp(text.includes(':') ? 'fd50::c' : '192.168.50.12'),
    backendData: undefined,
  })),
}

it.each([
  ['cni0', '10.244.9.1/24', undefined],
  ['cni0', '10.244.5.1/24', "bridge cni0 still has 10.244.5.1/24, and this node's subnet is 10.244.9.0/24"],
  ['docker0', '10.244.5.1/24', 'bridge docker0 still has 10.244.5.1/24'],
  ['docker0', '172.17.0.1/16', undefined],
  // Docker's own network in a pod network that is too wide, and the LAN likewise: to delete these would hurt.
  ['docker0', '10.244.128.1/18', undefined],
  ['br0', '10.244.5.7/24', undefined],
  ['cni0', '10.244.128.1/18', 'bridge cni0 still has 10.244.128.1/18'],
  ['br-0a1b2c3d4e5f', 'fd10:244:0:5::1/64', 'bridge br-0a1b2c3d4e5f still has fd10:244:0:5::1/64'],
  ['cni0', 'fd10:244:0:9::1/64', undefined],
  ['flannel.1', '10.244.5.0/32', undefined],
  ['eth0', '10.244.5.7/24', undefined],
])('%s with %s', (name, text, trouble) => {
  const [address = '', length] = text.split('/')
  const facts = {
    index: 5,
    name,
    underlayMtu: 1450,
    up: true,
    loopback: false,
    vxlan: undefined,
    addresses: [
      {
        address: parseIp(address),
        length: Number(length),
        scope: 'global',
        permanent: true,
        deprecated: false,
        temporary: false,
        tentative: false,
      },
    ],
  } as const satisfies InterfaceFacts
  expect(familyOf(address)).toBeDefined()
  const found = bridgeTrouble([facts], network, self)
  if (trouble === undefined) expect(found).toBeUndefined()
  else expect(found).toContain(trouble)
})
