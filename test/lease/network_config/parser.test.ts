import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { contains, prefixOf } from '../../../lease/net/prefix.ts'
import { type NetworkConfig, NetworkConfigError } from '../../../lease/network_config/network_config.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'
import { mutated } from '../../support/arbitrary.ts'

function print(config: NetworkConfig): string[] {
  return config.families.map(
    ({ network, subnetLength, subnetMin, subnetMax }) =>
      `${network} in /${subnetLength}, ${subnetMin} to ${subnetMax}`,
  )
}

function refusal(config: object | string): string {
  try {
    parseNetworkConfig(typeof config === 'string' ? config : JSON.stringify(config))
  } catch (error) {
    if (error instanceof NetworkConfigError) return error.message
    throw error
  }
  return 'none'
}

const full = {
  Network: '10.0.0.0/8',
  SubnetLen: 20,
  SubnetMin: '10.10.0.0',
  SubnetMax: '10.99.0.0',
  EnableIPv6: true,
  IPv6Network: 'fd00::/48',
  IPv6SubnetLen: 64,
  IPv6SubnetMin: 'fd00:0:0:1::',
  IPv6SubnetMax: 'fd00:0:0:f::',
  EnableNFTables: true,
  Backend: { Type: 'VXLAN', VNI: 7, Port: 4789 },
}

describe('a network config', () => {
  it('takes all of flannel’s keys', () => {
    const config = parseNetworkConfig(JSON.stringify(full))
    expect(print(config)).toEqual([
      '10.0.0.0/8 in /20, 10.10.0.0 to 10.99.0.0',
      'fd00::/48 in /64, fd00:0:0:1:: to fd00:0:0:f::',
    ])
    expect(config.backend).toEqual({ type: 'vxlan', options: { VNI: 7, Port: 4789 } })
    expect(config.enableNftables).toBe(true)
  })

  it('reads keys in any case and passes over unknown ones', () => {
    const text = '{"network":"10.1.0.0/16","SUBNETLEN":26,"backend":{"type":"host-gw"},"Comment":[1]}'
    expect(print(parseNetworkConfig(text))).toEqual(['10.1.0.0/16 in /26, 10.1.0.64 to 10.1.255.192'])
    expect(parseNetworkConfig(text).backend).toEqual({ type: 'host-gw', options: {} })
  })

  it.each([
    ['10.1.0.0/16', '10.1.0.0/16 in /24, 10.1.1.0 to 10.1.255.0'],
    ['10.1.0.0/22', '10.1.0.0/22 in /24, 10.1.1.0 to 10.1.3.0'],
    ['10.1.0.0/23', '10.1.0.0/23 in /25, 10.1.0.128 to 10.1.1.128'],
    ['10.1.0.0/28', '10.1.0.0/28 in /30, 10.1.0.4 to 10.1.0.12'],
    ['10.1.2.3/16', '10.1.0.0/16 in /24, 10.1.1.0 to 10.1.255.0'],
  ])('cuts %s as flannel does', (network, expected) => {
    expect(print(parseNetworkConfig(JSON.stringify({ Network: network })))).toEqual([expected])
  })

  it.each([
    ['fd00::/48', 'fd00::/48 in /64, fd00:0:0:1:: to fd00:0:0:ffff::'],
    ['fd00::/62', 'fd00::/62 in /64, fd00:0:0:1:: to fd00:0:0:3::'],
    ['fd00::/63', 'fd00::/63 in /65, fd00::8000:0:0:0 to fd00:0:0:1:8000::'],
    ['fd00::/124', 'fd00::/124 in /126, fd00::4 to fd00::c'],
  ])('cuts %s as flannel does, alone', (network, expected) => {
    const text = JSON.stringify({ EnableIPv4: false, EnableIPv6: true, IPv6Network: network })
    expect(print(parseNetworkConfig(text))).toEqual([expected])
  })

  it('is VXLAN where no backend is named', () => {
    const { backend, enableNftables } = parseNetworkConfig('{"Network":"10.1.0.0/16","Backend":null}')
    expect(backend).toEqual({ type: 'vxlan', options: {} })
    expect(enableNftables).toBe(false)
  })

  it.each([
    [{}, 'please define a correct Network parameter in the flannel config: it is missing; set Network to'],
    [
      { EnableIPv6: true, Network: '10.1.0.0/16' },
      'please define a correct IPv6Network parameter in the flannel config',
    ],
    [
      { Network: 'fd00::/48' },
      'please define a correct Network parameter in the flannel config: "fd00::/48" is of the',
    ],
    [
      { Network: '10.1.0.0/33' },
      "please define a correct Network parameter in the flannel config: Cannot parse prefix '10.1.0.0/33'",
    ],
    [{ Network: 7 }, 'please define a correct Network parameter in the flannel config: it is 7'],
    [
      { Network: '10.1.0.0/29' },
      'network is too small. Minimum useful network prefix is /28: Network is 10.1.0.0/29; widen',
    ],
    [
      { Network: '10.1.0.0/16', SubnetLen: 31 },
      'SubnetLen must be less than /31: SubnetLen is 31; take one from 18 to 30',
    ],
    [
      { Network: '10.1.0.0/16', SubnetLen: 17 },
      'network must be able to accommodate at least four subnets: SubnetLen is 17',
    ],
    [{ Network: '10.1.0.0/16', SubnetLen: '24' }, 'SubnetLen is "24": a length in bits is needed, as 24'],
    [{ Network: '10.1.0.0/16', SubnetLen: -1 }, 'SubnetLen is -1: a length in bits is needed, as 24'],
    [
      { Network: '10.1.0.0/16', SubnetMin: '10.2.0.0' },
      'SubnetMin is not in the range of the Network: 10.2.0.0 is outside of',
    ],
    [
      { Network: '10.1.0.0/16', SubnetMax: '10.0.0.0' },
      'SubnetMax is not in the range of the Network: 10.0.0.0 is outside of',
    ],
    [
      { Network: '10.1.0.0/16', SubnetMin: '10.1.1.7' },
      'SubnetMin is not on a SubnetLen boundary: 10.1.1.7; with SubnetLen 24 the nearest below is 10.1.1.0',
    ],
    [
      { Network: '10.1.0.0/16', SubnetMin: '10.1.9.0', SubnetMax: '10.1.8.0' },
      'SubnetMin 10.1.9.0 is above SubnetMax 10.1.8.0',
    ],
    [{ Network: '10.1.0.0/16', SubnetMin: 'x' }, 'SubnetMin is "x": an address is needed'],
    [{ Network: '10.1.0.0/16', SubnetMin: '::1' }, 'SubnetMin is "::1": an ipv4 address in quotes is needed'],
    [
      { ...full, IPv6Network: 'fd00::/125', IPv6SubnetLen: 0 },
      'IPv6Network is too small. Minimum useful network prefix is /124',
    ],
    [{ ...full, IPv6SubnetLen: 127 }, 'SubnetLen must be less than /127: IPv6SubnetLen is 127'],
    [
      { ...full, IPv6SubnetLen: 49 },
      'network must be able to accommodate at least four subnets: IPv6SubnetLen is 49',
    ],
    [
      { ...full, IPv6SubnetMin: 'fd01::' },
      'IPv6SubnetMin is not in the range of the IPv6Network: fd01:: is outside of fd00::/48',
    ],
    [
      { ...full, IPv6SubnetMax: 'fd00::1:0:0:1' },
      'IPv6SubnetMax is not on a SubnetLen boundary: fd00::1:0:0:1',
    ],
    [{ EnableIPv4: false, Network: '10.1.0.0/16' }, 'EnableIPv4 and EnableIPv6 are both false'],
    [
      { EnableIPv6: 'true', Network: '10.1.0.0/16' },
      'EnableIPv6 is "true": true or false is needed, without quotes',
    ],
    [{ Network: '10.1.0.0/16', Backend: {} }, 'unknown backend type: Backend has no Type'],
    [{ Network: '10.1.0.0/16', Backend: { Type: 1 } }, 'Backend.Type is 1: a name is needed'],
    [{ Network: '10.1.0.0/16', Backend: 'vxlan' }, 'Backend is "vxlan": an object is needed'],
    [{ Network: '0.0.0.0/0' }, '0.0.0.0/0 overlaps 0.0.0.0/8, which is for "this host" and never for pods'],
    [{ Network: '127.8.0.0/16' }, '127.8.0.0/16 overlaps 127.0.0.0/8, which is for loopback'],
    [{ Network: '224.0.0.0/8' }, 'overlaps 224.0.0.0/4, which is for multicast'],
    [{ Network: '169.254.0.0/16' }, 'overlaps 169.254.0.0/16, which is for link-local addresses'],
    [{ EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fe80::/64' }, 'which is for link-local addresses'],
    [{ EnableIPv4: false, EnableIPv6: true, IPv6Network: '::/0' }, 'which is for loopback and "no address"'],
    [
      '{"Network":"10.1.0.0/16",}',
      'Cannot parse the network config: a comma with nothing after it: remove it at line 1',
    ],
    [
      JSON.stringify('{"Network":"10.1.0.0/16"}'),
      'Cannot parse the network config: it is JSON inside of a JSON string',
    ],
    ['', 'Cannot parse the network config: Unexpected end of JSON input; write it like {"Network"'],
    ['[]', 'Cannot parse the network config: a JSON object is needed, this is []'],
  ])('is refused: %j', (config, message) => {
    expect(refusal(config)).toContain(message)
  })

  it('is refused where it is nested deep', () => {
    const deep = `{"Backend":${'['.repeat(20_000)}${']'.repeat(20_000)}}`
    expect(refusal(deep)).toContain('Cannot parse the network config: it is nested deeper')
  })

  it('is read with what Windows and editors leave: a byte order mark, CRLF', () => {
    expect(print(parseNetworkConfig('\ufeff{\r\n  "Network": "10.1.0.0/16"\r\n}\r\n'))).toEqual(
      print(parseNetworkConfig('{"Network":"10.1.0.0/16"}')),
    )
  })

  it('says nothing of subnet lengths and bounds where Kubernetes assigns subnets', () => {
    const text = '{"Network":"10.244.0.0/28","SubnetLen":31,"SubnetMin":"1.2.3.4"}'
    expect(() => parseNetworkConfig(text)).toThrow(NetworkConfigError)
    expect(print(parseNetworkConfig(text, { subnets: 'assigned' }))).toEqual([
      '10.244.0.0/28 in /30, 10.244.0.4 to 10.244.0.12',
    ])
    for (const network of ['10.244.0.0/31', '10.244.0.0/32'])
      expect(
        parseNetworkConfig(`{"Network":"${network}"}`, { subnets: 'assigned' }).families[0]?.network,
      ).toBe(network)
  })

  it('fails with NetworkConfigError alone, and what passes is sound', () => {
    const keys = [...Object.keys(full), 'enableipv4', 'network', 'Type']
    const value = fc.oneof(
      fc.jsonValue(),
      fc.boolean(),
      fc.integer({ min: 0, max: 140 }),
      fc.ipV4(),
      fc.ipV6(),
      fc.tuple(fc.ipV4(), fc.nat(34)).map(it => it.join('/')),
      fc.tuple(fc.ipV6(), fc.nat(130)).map(it => it.join('/')),
    )
    const overlaid = fc
      .dictionary(fc.constantFrom(...keys), value, { maxKeys: 3 })
      .map(change => JSON.stringify({ ...full, ...change }))
    const text = fc.oneof(fc.string(), fc.json(), overlaid, mutated(fc.constant(JSON.stringify(full))))
    fc.assert(
      fc.property(text, fc.constantFrom('leased' as const, 'assigned' as const), (it, subnets) => {
        let config: NetworkConfig
        try {
          config = parseNetworkConfig(it, { subnets })
        } catch (error) {
          expect(error).toBeInstanceOf(NetworkConfigError)
          return
        }
        expect(config.families.length).toBeGreaterThan(0)
        for (const { network, subnetLength, subnetMin, subnetMax } of config.families)
          for (const bound of [subnetMin, subnetMax])
            expect(contains(network, prefixOf(bound, subnetLength))).toBe(true)
      }),
      { numRuns: 3000 },
    )
  })
})
