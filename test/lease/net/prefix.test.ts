import { BlockList } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  AddressError,
  familyBits,
  familyOf,
  ipFromBytes,
  ipToNumber,
  parseIp,
} from '../../../lease/net/ip.ts'
import {
  addressAt,
  contains,
  edgesOf,
  hostPrefix,
  networkAddress,
  overlaps,
  parsePrefix,
  prefixLength,
  prefixOf,
  prefixRange,
} from '../../../lease/net/prefix.ts'
import { PrefixIndex } from '../../../lease/net/prefix_index.ts'
import { anyPrefix, nearPrefix } from '../../support/arbitrary.ts'

describe('a prefix', () => {
  it('clears host bits', () => {
    expect(parsePrefix('10.1.5.7/24')).toBe('10.1.5.0/24')
    expect(parsePrefix('FD00:12:13:ff:1::1/56')).toBe('fd00:12:13::/56')
    expect(parsePrefix('255.255.255.255/0')).toBe('0.0.0.0/0')
  })

  it.each([
    '10.1.2.3',
    '10.1.2.3/33',
    '10.1.2.3/024',
    '10.1.2.3/',
    '10.1.2.3/-1',
    '10.1.2.3/8/8',
    '::/129',
    '/24',
    '10.1.2.3/2a',
  ])('is not %j', text => {
    expect(() => parsePrefix(text)).toThrow(AddressError)
  })

  it('fails with AddressError alone', () => {
    const text = fc.oneof(
      fc.string(),
      fc.stringMatching(/^[0-9a-f:./]{0,24}$/),
      fc.tuple(fc.ipV6(), fc.integer()).map(it => it.join('/')),
    )
    fc.assert(
      fc.property(text, it => {
        try {
          expect(parsePrefix(parsePrefix(it))).toBe(parsePrefix(it))
        } catch (error) {
          expect(error).toBeInstanceOf(AddressError)
        }
      }),
      { numRuns: 1000 },
    )
  })

  it('is not made with a length beyond the family', () => {
    for (const length of [-1, 33, 1.5, Number.NaN])
      expect(() => prefixOf(parseIp('10.0.0.0'), length)).toThrow(AddressError)
    expect(() => addressAt(parsePrefix('255.255.255.0/24'), 256)).toThrow(AddressError)
    expect(addressAt(parsePrefix('10.1.5.0/24'), 1)).toBe('10.1.5.1')
  })

  it('holds what node:net says it holds', () => {
    fc.assert(
      fc.property(nearPrefix, nearPrefix, (a, b) => {
        const list = new BlockList()
        list.addSubnet(networkAddress(a), prefixLength(a), familyOf(a))
        const address = networkAddress(b)
        expect(contains(a, address)).toBe(list.check(address, familyOf(address)))
        expect(contains(a, b)).toBe(contains(a, address) && prefixLength(b) >= prefixLength(a))
        expect(contains(hostPrefix(address), address)).toBe(true)
      }),
    )
  })

  it('overlaps where the ranges do', () => {
    fc.assert(
      fc.property(nearPrefix, nearPrefix, (a, b) => {
        const [x, y] = [prefixRange(a), prefixRange(b)]
        expect(overlaps(a, b)).toBe(x.family === y.family && x.first <= y.last && y.first <= x.last)
      }),
    )
  })

  it('counts its addresses', () => {
    fc.assert(
      fc.property(anyPrefix, prefix => {
        const { family, first, last } = prefixRange(prefix)
        expect(first).toBe(ipToNumber(networkAddress(prefix)))
        expect(last - first + 1n).toBe(1n << BigInt(familyBits(family) - prefixLength(prefix)))
      }),
    )
  })

  it('of each length holds its address', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        fc.integer({ min: 0, max: 128 }),
        (bytes, length) => {
          const ip = ipFromBytes(bytes)
          expect(contains(prefixOf(ip, length), ip)).toBe(true)
        },
      ),
    )
  })
})

describe('the edges of a connected network', () => {
  it('are its network and broadcast address, which /31, /32 and IPv6 lack', () => {
    const rows = ['192.0.2.0/24', '192.0.2.4/30', '192.0.2.4/31', '192.0.2.4/32', 'fd00::/64'].map(text => {
      const edges = edgesOf(parsePrefix(text))
      return `${text} ${edges?.network} ${edges?.broadcast}`
    })
    expect(rows).toEqual([
      '192.0.2.0/24 192.0.2.0 192.0.2.255',
      '192.0.2.4/30 192.0.2.4 192.0.2.7',
      '192.0.2.4/31 undefined undefined',
      '192.0.2.4/32 undefined undefined',
      'fd00::/64 undefined undefined',
    ])
  })
})

describe('an index by prefix', () => {
  it('finds what a walk over all finds', () => {
    const change = fc.record({ prefix: nearPrefix, gone: fc.boolean() })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), nearPrefix, (changes, asked) => {
        const index = new PrefixIndex<number>()
        const model = new Map<number, (typeof changes)[number]['prefix']>()
        changes.forEach(({ prefix, gone }, i) => {
          const [oldest] = model
          if (gone && oldest !== undefined) {
            model.delete(oldest[0])
            index.delete(oldest[1], oldest[0])
          }
          model.set(i, prefix)
          index.add(prefix, i)
        })
        const expected = [...model].filter(([, prefix]) => overlaps(prefix, asked)).map(([i]) => i)
        expect([...index.overlapping(asked)].sort((a, b) => a - b)).toEqual(expected)
      }),
    )
  })

  it('forgets what it never had', () => {
    const index = new PrefixIndex<string>()
    index.delete(parsePrefix('10.0.0.0/8'), 'x')
    index.add(parsePrefix('10.0.0.0/8'), 'y')
    index.delete(parsePrefix('10.0.0.0/8'), 'x')
    expect([...index.overlapping(parsePrefix('10.1.0.0/16'))]).toEqual(['y'])
  })
})
