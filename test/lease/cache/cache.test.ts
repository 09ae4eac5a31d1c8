import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type CachedLeases, CacheError, decodeCache, encodeCache } from '../../../lease/cache/cache.ts'
import { hostileJson } from '../../support/arbitrary.ts'
import { vxlanLease } from '../../support/leases.ts'

const cached: CachedLeases = {
  scope: 'etcd /coreos.com/network',
  savedAtMs: 1_700_000_000_000,
  networkConfig: '{"Network":"10.1.0.0/16"}',
  leases: [
    vxlanLease('10.1.5.0-24', '02:00:00:00:00:05', '10.1.5.0/24 at 192.168.0.5'),
    vxlanLease(
      '10.1.6.0-24&fd00:6::-64',
      '02:00:00:00:00:06',
      '10.1.6.0/24 at 192.168.0.6',
      'fd00:6::/64 at fd00:aa::6',
    ),
  ],
  notes: { any: ['thing', 1] },
}

const decode = (text: string, scope = cached.scope) => decodeCache(text, scope, notes => notes)

test('what was written is read again', () => {
  expect(decode(encodeCache(cached))).toEqual(cached)
})

test('a file of another scope is refused', () => {
  expect(() => decode(encodeCache(cached), 'etcd /other')).toThrow(
    new CacheError("it is of 'etcd /coreos.com/network', not of 'etcd /other'"),
  )
})

test('a file that was cut short anywhere, or has any other byte, is refused', () => {
  const text = encodeCache(cached)
  fc.assert(
    fc.property(fc.nat(text.length - 1), length => {
      expect(() => decode(text.slice(0, length))).toThrow(CacheError)
    }),
  )
  fc.assert(
    fc.property(fc.nat(text.length - 1), at => {
      const other = text[at] === 'x' ? 'y' : 'x'
      expect(() => decode(text.slice(0, at) + other + text.slice(at + 1))).toThrow(CacheError)
    }),
  )
})

test('a file of a later version is refused, with the version', () => {
  const text = encodeCache(cached).replace('"version":1', '"version":2')
  expect(() => decode(text)).toThrow('it has version 2, this program knows 1')
})

test.each<[string, object, string]>([
  ['a prefix', { leases: [leaseWith({ prefix: '10.1.5.0/99' })] }, 'length must be 0-32'],
  ['a public IP', { leases: [leaseWith({ publicIp: 7 })] }, 'publicIp is no text'],
  ['the families of a subnet', { leases: [leaseWith({ publicIp: 'fd00::1' })] }, 'is not of the family'],
  [
    'a lease without subnets',
    { leases: [{ ...cached.leases[0], subnets: [] }] },
    'has not one subnet a family',
  ],
  ['a name', { leases: [{ ...cached.leases[0], node: null }] }, 'node is no text'],
  ['a time beyond reason', { savedAtMs: 8.65e15 }, 'savedAtMs is no number from 0 to'],
  ['a time before all times', { savedAtMs: -1 }, 'savedAtMs is no number from 0 to'],
  ['the network config', { networkConfig: 'x'.repeat(70_000) }, 'networkConfig is no text'],
])('%s that is wrong under a right checksum is refused', (_, wrong, message) => {
  expect(() => decode(encodeCache({ ...cached, ...wrong } as CachedLeases))).toThrow(new RegExp(message))
})

test('any JSON under a right checksum is refused with CacheError, or read as leases that can be used', () => {
  fc.assert(
    fc.property(fc.oneof(hostileJson, fc.json().map(inEachPlace)), body => {
      const sha256 = createHash('sha256').update(body).digest('hex')
      try {
        JSON.stringify(decode(`${JSON.stringify({ format: 'twill-leases', version: 1, sha256 })}\n${body}\n`))
      } catch (error) {
        expect(error).toBeInstanceOf(CacheError)
      }
    }),
  )
})

test('more leases than can be read back are not written', () => {
  const leases = Array.from({ length: 100_000 }, () => cached.leases).flat()
  expect(() => encodeCache({ ...cached, leases })).toThrow(/200000 leases are more than 16777216 bytes/)
})

function leaseWith(subnet: object): object {
  return { ...cached.leases[0], subnets: [{ ...cached.leases[0]?.subnets[0], ...subnet }] }
}

/** The same foreign value wherever a lease could have one. */
function inEachPlace(value: string): string {
  const subnet = `{"prefix":"10.1.5.0/24","publicIp":"192.168.0.5","backendData":${value}}`
  const lease = `{"node":"n","backendType":"vxlan","since":1,"subnets":[${subnet}]}`
  return `{"scope":"${cached.scope}","savedAtMs":1,"leases":[${lease}],"notes":${value}}`
}
