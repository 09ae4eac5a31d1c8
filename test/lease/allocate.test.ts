import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { chooseSubnets, fits } from '../../lease/allocate.ts'
import { familyBits, ipFromNumber, ipToNumber } from '../../lease/net/ip.ts'
import { networkAddress, overlaps, type Prefix, parsePrefix, prefixOf } from '../../lease/net/prefix.ts'
import { parseNetworkConfig } from '../../lease/network_config/parser.ts'
import { LeaseRefusedError } from '../../lease/store.ts'
import { nearPrefix } from '../support/arbitrary.ts'

const dual = parseNetworkConfig('{"Network":"10.1.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:1::/48"}')
const ipv4 = parseNetworkConfig('{"Network":"10.1.0.0/16"}')
/** Three subnets a family. */
const small = parseNetworkConfig(
  '{"Network":"10.0.0.0/28","SubnetLen":30,"EnableIPv6":true,"IPv6Network":"fd00::/124","IPv6SubnetLen":126}',
)
const lowest = () => 0
const prefixes = (...texts: string[]) => texts.map(parsePrefix)

describe('choosing subnets', () => {
  it('begins after the first subnet and leaves out what is taken', () => {
    expect(chooseSubnets(dual, [], [], lowest)).toEqual(['10.1.1.0/24', 'fd00:1:0:1::/64'])
    const taken = prefixes('10.1.1.0/24', '10.1.2.0/23', '10.1.5.128/30', 'fd00:1:0:1::/64', '0.0.0.0/8')
    expect(chooseSubnets(dual, taken, [], lowest)).toEqual(['10.1.4.0/24', 'fd00:1:0:2::/64'])
  })

  it('draws among the hundred lowest', () => {
    expect(chooseSubnets(dual, [], [], () => 0.9999999)).toEqual(['10.1.100.0/24', 'fd00:1:0:64::/64'])
    const drawn = new Set(
      Array.from({ length: 100 }, (_, i) => chooseSubnets(ipv4, [], [], () => (i + 0.5) / 100)[0]),
    )
    expect(drawn.size).toBe(100)
  })

  it('draws for each family by itself', () => {
    const numbers = [0.5, 0]
    expect(chooseSubnets(dual, [], [], () => numbers.shift() ?? 0)).toEqual([
      '10.1.51.0/24',
      'fd00:1:0:1::/64',
    ])
  })

  it('takes the previous subnet again where it is free and fits', () => {
    const again = (...previous: string[]) =>
      chooseSubnets(dual, prefixes('10.1.9.0/24'), prefixes(...previous), lowest)
    expect(again('fd00:1:0:7::/64', '10.1.77.0/24')).toEqual(['10.1.77.0/24', 'fd00:1:0:7::/64'])
    expect(again('10.1.9.0/24')).toEqual(['10.1.1.0/24', 'fd00:1:0:1::/64'])
    expect(again('10.1.77.0/25', '10.2.77.0/24', '10.1.0.0/24')).toEqual(['10.1.1.0/24', 'fd00:1:0:1::/64'])
  })

  it('says how full the network is', () => {
    const taken = Array.from({ length: 255 }, (_, i) => parsePrefix(`10.1.${i + 1}.0/24`))
    const act = () => chooseSubnets(ipv4, taken, [], lowest)
    expect(act).toThrow(LeaseRefusedError)
    expect(act).toThrow(
      'out of subnets: 10.1.0.0/16 has 255 of length /24 from 10.1.1.0 to 10.1.255.0, and 255 leases leave none of them free',
    )
    expect(chooseSubnets(ipv4, taken.toSpliced(200, 1), [], lowest)).toEqual(['10.1.201.0/24'])
  })

  it('never overlaps what is taken and is always one of the network’s subnets', () => {
    fc.assert(
      fc.property(
        fc.array(nearPrefix, { maxLength: 12 }),
        fc.array(nearPrefix, { maxLength: 3 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (taken, previous, random) => {
          const free = small.families.map(family =>
            subnetsOf(family).filter(it => !taken.some(other => overlaps(it, other))),
          )
          let chosen: readonly Prefix[]
          try {
            chosen = chooseSubnets(small, taken, previous, () => random)
          } catch (error) {
            expect(error).toBeInstanceOf(LeaseRefusedError)
            expect(free.some(subnets => subnets.length === 0)).toBe(true)
            return
          }
          expect(fits(small, chosen)).toBe(true)
          chosen.forEach((subnet, i) => {
            const again = previous.find(it => free[i]?.includes(it))
            expect(subnet).toBe(again ?? free[i]?.[Math.floor(random * (free[i]?.length ?? 0))])
          })
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('is quick where very much is taken of a very large network', () => {
    const huge = parseNetworkConfig(
      '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00::/16","IPv6SubnetLen":64}',
    )
    const first = ipToNumber(huge.families[0]?.subnetMin ?? networkAddress(parsePrefix('::/0')))
    const taken = Array.from({ length: 20_000 }, (_, i) =>
      prefixOf(ipFromNumber(first + (BigInt(i) << 64n), 'ipv6'), 64),
    )
    // A walk over all pairs would take minutes, and this test's time would be up.
    expect(chooseSubnets(huge, taken, [], lowest)).toEqual(['fd00:0:0:4e21::/64'])
  })
})

describe('fitting a network', () => {
  it.each([
    [['10.1.5.0/24', 'fd00:1:0:5::/64'], true],
    [['10.1.1.0/24', 'fd00:1:0:ffff::/64'], true],
    [['10.1.5.0/24'], false],
    [['fd00:1:0:5::/64', '10.1.5.0/24'], false],
    [['10.1.0.0/24', 'fd00:1:0:5::/64'], false],
    [['10.1.5.0/25', 'fd00:1:0:5::/64'], false],
    [['10.2.5.0/24', 'fd00:1:0:5::/64'], false],
    [['10.1.5.0/24', 'fd00:1:0:5::/64', '10.1.6.0/24'], false],
  ])('%j: %s', (texts, expected) => {
    expect(fits(dual, prefixes(...texts))).toBe(expected)
  })
})

function subnetsOf({
  family,
  subnetLength,
  subnetMin,
  subnetMax,
}: (typeof small.families)[number]): Prefix[] {
  const all: Prefix[] = []
  const size = 1n << BigInt(familyBits(family) - subnetLength)
  for (let at = ipToNumber(subnetMin); at <= ipToNumber(subnetMax); at += size)
    all.push(prefixOf(ipFromNumber(at, family), subnetLength))
  return all
}
