import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lookupIn } from '../../../../agent/diagnose/firewall/nft_elements.ts'

describe('a look-up in the elements of an nft set', () => {
  it('parses thousands of elements at the first packet, once', () => {
    let parsed = 0
    const elements = function* () {
      for (let n = 0; n < 5_000; n++) {
        parsed++
        yield [`10.0.${n >> 8}.${n & 255}`, n] as const
      }
    }
    const lookup = lookupIn(elements)
    expect(parsed).toBe(0)
    expect([['10.0.19.135'], ['10.0.19.136'], [undefined]].map(lookup)).toEqual([4_999, undefined, 'maybe'])
    expect(parsed).toBe(5_000)
  })

  it('finds the interval that holds a number, as a scan of all would', () => {
    const lengths = fc.array(fc.record({ gap: fc.integer({ min: 1, max: 9 }), length: fc.nat(9) }), {
      maxLength: 20,
    })
    fc.assert(
      fc.property(lengths, fc.infiniteStream(fc.nat()), (list, order) => {
        let end = 0
        const ranges = list.map(({ gap, length }): [number, number] => {
          const first = end + gap
          end = first + length
          return [first, end]
        })
        const keyed = ranges.map(range => ({ range, at: order.next().value as number }))
        const shuffled = keyed.sort((one, other) => one.at - other.at).map(({ range }) => range)
        const lookup = lookupIn(() => shuffled.map(range => [{ range }, String(range)] as const))
        for (let n = 0; n <= end + 1; n++)
          expect(lookup([String(n)])).toBe(
            ranges.find(([first, last]) => first <= n && n <= last)?.toString(),
          )
      }),
    )
  })

  it.each([
    ['a range without numbers', { range: ['a', 'b'] }],
    ['a prefix that is none', { prefix: { addr: '10.0.0.0', len: 99 } }],
    ['an address longer than any', { prefix: { addr: '1'.repeat(1_000), len: 8 } }],
    ['an expression', { '&': [1, 2] }],
    ['an element within elements', { elem: { val: { elem: { val: '10.0.0.2' } } } }],
    ['a concatenation within one', { concat: [{ concat: ['10.0.0.2'] }] }],
    ['null', null],
  ])('may hold what it cannot read: %s', (_, element) => {
    const lookup = lookupIn(() => [[element, true] as const, ['10.0.0.1', true] as const])
    expect([['10.0.0.1'], ['10.0.0.2']].map(lookup)).toEqual([true, 'maybe'])
  })
})
