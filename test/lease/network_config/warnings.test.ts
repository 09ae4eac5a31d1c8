import { expect, test } from 'vitest'
import { networkConfigWarnings } from '../../../lease/network_config/warnings.ts'

test.each<[string, string[]]>([
  ['{"network":"10.1.0.0/16","Backend":{"type":"VXLAN","vni":1,"macprefix":"0E-2A"}}', []],
  ['{"Network":"10.1.0.0/16","Backend":{"Type":"wireguard","PSK":"x"}}', []],
  [
    '{"Network":"10.1.0.0/16","SubnetLenght":26}',
    ['"SubnetLenght" is no key of the network config and is ignored; is SubnetLen meant?'],
  ],
  ['{"Network":"10.1.0.0/16","Comment":""}', ['"Comment" is no key of the network config and is ignored']],
  [
    '{"Network":"10.1.0.0/16","VNI":7,"Backend":{"Type":"vxlan","SubnetLen":26}}',
    [
      'VNI of the network config is ignored: it belongs into Backend',
      'Backend.SubnetLen of the network config is ignored: it belongs beside Backend, not into it',
    ],
  ],
  [
    '{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan","VNI":1,"vni":2}}',
    ['"Backend.vni" stands more than once in the network config: the last one counts'],
  ],
])('of %s an operator is told %j', (text, warnings) => {
  expect(networkConfigWarnings(text)).toEqual(warnings)
})

test('no more than ten are told of one config', () => {
  const keys = Array.from({ length: 1_000 }, (_, i) => `"key${i}":1`)
  expect(networkConfigWarnings(`{"Network":"10.1.0.0/16",${keys.join()}}`)).toHaveLength(10)
})
