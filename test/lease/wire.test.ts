import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { BackendData } from '../../lease/backend_data.ts'
import { type Lease, printLease } from '../../lease/lease.ts'
import { type Family, familyBits, familyOf, type Ip, parseIp } from '../../lease/net/ip.ts'
import { localMac } from '../../lease/net/mac.ts'
import { type Prefix, parsePrefix, prefixOf } from '../../lease/net/prefix.ts'
import {
  decodeLease,
  decodeSubnetKey,
  encodeLeaseValue,
  encodeSubnetKey,
  WireError,
} from '../../lease/wire.ts'
import { anyIp, mutated } from '../support/arbitrary.ts'
import { vtep } from '../support/leases.ts'

const dualKey = '10.12.13.0-24&fd00:12:13::-56'
const flanneldValues = [
  ['10.1.5.0-24', '{"PublicIP":"1.2.3.4","PublicIPv6":null}'],
  [
    '10.1.5.0-24',
    '{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:0a:00:00:01"}}',
  ],
  ['10.1.5.0-24', '{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"host-gw"}'],
  [
    dualKey,
    '{"PublicIP":"1.2.3.4","PublicIPv6":"fd00::7","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:0a:00:00:01"},' +
      '"BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:0a:00:00:02"}}',
  ],
  [
    '0.0.0.0-0&fd00:12:13::-56',
    '{"PublicIP":"0.0.0.0","PublicIPv6":"fd00::7","BackendType":"vxlan","BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:0a:00:00:02"}}',
  ],
] as const

function encode({ subnets, backendType }: Pick<Lease, 'subnets' | 'backendType'>): string {
  return encodeLeaseValue({
    publicIps: subnets.map(({ publicIp }) => publicIp),
    backendType,
    backendData: subnets.map(({ backendData }) => backendData),
  })
}

function wireError(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (error instanceof WireError) return error.message
    throw error
  }
  return 'none'
}

describe('a subnet key', () => {
  it.each([
    [['10.1.5.0/24'], '10.1.5.0-24'],
    [['10.12.13.0/24', 'fd00:12:13::/56'], dualKey],
    [['fd00:12:13::/56'], '0.0.0.0-0&fd00:12:13::-56'],
  ])('of %j is %s', (prefixes, key) => {
    expect(encodeSubnetKey(prefixes.map(parsePrefix))).toBe(key)
    expect(decodeSubnetKey(key)).toEqual(prefixes)
  })

  it.each([
    '',
    'config',
    '10.1.5.0',
    '10.1.5.0/24',
    '10.1.5.0-32',
    '10.1.5.0-024',
    '10.1.5.7-24',
    '10.1.500.0-24',
    '0.0.0.0-0',
    'fd00::-64',
    '10.1.5.0-24&fd00::-128',
    '10.1.5.0-24&fd00::1-64',
    '10.1.5.0-24&10.2.0.0-24',
    'x10.1.5.0-24',
    '10.1.5.0-24\n',
  ])('is not %j', key => {
    const message = wireError(() => decodeSubnetKey(key))
    expect(message).toContain(`Cannot read subnet key ${JSON.stringify(key)}: `)
    expect(message).toContain('delete the key if no node holds it')
  })

  it('has one prefix a family, IPv4 first', () => {
    for (const prefixes of [
      [],
      ['fd00::/64', '10.1.5.0/24'],
      ['10.1.5.0/24', '10.1.6.0/24'],
      ['10.1.5.4/32'],
      ['0.0.0.0/0'],
    ])
      expect(() => encodeSubnetKey(prefixes.map(parsePrefix))).toThrow(WireError)
  })
})

describe('a lease value', () => {
  it.each(flanneldValues)('under %s is written to the byte as flanneld writes %s', (key, value) => {
    expect(encode(decodeLease(key, value, 5))).toBe(value)
  })

  it('is read as Go reads it', () => {
    const value =
      '{ "publicip" : "1.2.3.4", "BACKENDTYPE": "VXLAN", "backenddata": {"vtepmac":"02-00-00-00-00-0A","vni":1}, "More": 1 }'
    expect(decodeLease('10.1.5.0-24', value, 5)).toEqual({
      node: '10.1.5.0-24',
      since: 5,
      backendType: 'vxlan',
      subnets: [{ prefix: '10.1.5.0/24', publicIp: '1.2.3.4', backendData: vtep('02:00:00:00:00:0a') }],
    })
  })

  it('has the unspecified address in a family that has no public IP, as in Go', () => {
    expect(printLease(decodeLease(dualKey, flanneldValues[0][1], 1))).toBe(
      '10.12.13.0/24 + fd00:12:13::/56 at 1.2.3.4 + ::',
    )
  })

  it.each([
    ['', 'Unexpected end of JSON input'],
    ['null', 'a JSON object is needed'],
    ['{}', 'has no public IP'],
    ['{"PublicIP":"0.0.0.0"}', 'has no public IP'],
    ['{"PublicIP":"fd00::1"}', 'PublicIP is "fd00::1": an ipv4 address is needed'],
    ['{"PublicIP":"1.2.3"}', 'PublicIP is "1.2.3": an ipv4 address is needed'],
    ['{"PublicIP":16909060}', 'PublicIP is 16909060: an ipv4 address is needed'],
    ['{"PublicIP":"1.2.3.4","BackendType":7}', 'BackendType is 7: a name of at most 64 characters is needed'],
    [`{"PublicIP":"1.2.3.4","BackendType":"${'x'.repeat(65)}"}`, 'a name of at most 64'],
    [`{"PublicIP":"1.2.3.4","More":"${'x'.repeat(65_536)}"}`, 'it is longer than 65536 bytes'],
    [
      `{"PublicIP":"1.2.3.4","BackendData":${'['.repeat(9000)}${']'.repeat(9000)}}`,
      'it is nested deeper than',
    ],
  ])('is not %j', (value, why) => {
    const message = wireError(() => decodeLease('10.1.5.0-24', value, 1))
    expect(message).toContain('Cannot read the lease under "10.1.5.0-24": ')
    expect(message).toContain(why)
    expect(message).toContain('restart the agent of its node, or delete the key')
  })

  it('has one public IP a family, IPv4 first', () => {
    const publish = (backendData: BackendData[], ...ips: string[]) =>
      encodeLeaseValue({ publicIps: ips.map(parseIp), backendType: 'vxlan', backendData })
    expect(() => publish([])).toThrow(WireError)
    expect(() => publish([], 'fd00::1', '1.2.3.4')).toThrow(WireError)
    expect(() => publish([undefined], '1.2.3.4', 'fd00::1')).toThrow(WireError)
    expect(publish([], '1.2.3.4')).toBe('{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"vxlan"}')
  })

  it('survives the way through text', () => {
    const subnet = (family: Family) =>
      fc.record({
        prefix: fc
          .tuple(anyIp(family), fc.integer({ min: 1, max: familyBits(family) - 1 }))
          .map(([ip, length]): Prefix => prefixOf(ip, length)),
        publicIp: anyIp(family).filter((ip: Ip) => ip !== '0.0.0.0' && ip !== '::'),
        backendData: fc.option(
          fc.record({
            vni: fc.option(fc.nat(0xffffff), { nil: undefined }),
            mac: fc.uint8Array({ minLength: 6, maxLength: 6 }).map(localMac),
          }),
          { nil: undefined },
        ),
      })
    const lease = fc.record({
      subnets: fc.oneof(
        fc.tuple(subnet('ipv4')),
        fc.tuple(subnet('ipv6')),
        fc.tuple(subnet('ipv4'), subnet('ipv6')),
      ),
      backendType: fc.constantFrom('', 'vxlan', 'host-gw'),
    })
    fc.assert(
      fc.property(lease, ({ subnets, backendType }) => {
        const key = encodeSubnetKey(subnets.map(({ prefix }) => prefix))
        const value = encode({ subnets, backendType })
        expect(decodeLease(key, value, 9)).toEqual({ node: key, since: 9, backendType, subnets })
        expect(encode(decodeLease(key, value, 9))).toBe(value)
      }),
    )
  })

  it('fails with WireError alone, and what passes is of its families', () => {
    const keys = fc.oneof(fc.string(), fc.constantFrom(...flanneldValues.map(([key]) => key)))
    const values = fc.constantFrom(...flanneldValues.map(([, value]) => value))
    const key = fc.oneof(keys, mutated(keys))
    const value = fc.oneof(fc.string(), fc.json(), values, mutated(values))
    fc.assert(
      fc.property(key, value, (k, v) => {
        try {
          for (const { prefix, publicIp } of decodeLease(k, v, 1).subnets) {
            expect(parsePrefix(prefix)).toBe(prefix)
            expect(familyOf(parseIp(publicIp))).toBe(familyOf(prefix))
          }
        } catch (error) {
          expect(error).toBeInstanceOf(WireError)
        }
      }),
      { numRuns: 3000 },
    )
  })
})
