import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_OBJECT_BYTES, TooLongError } from '../../../../lease/kubernetes/client/foreign_body.ts'
import { ListBody } from '../../../../lease/kubernetes/nodes/list_body.ts'

function take(text: string, cuts: readonly number[] = []): { items: unknown[]; envelope: unknown } {
  const items: unknown[] = []
  const body = new ListBody(json => items.push(JSON.parse(json)))
  const bytes = Buffer.from(text)
  const at = [0, ...cuts.map(cut => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  for (let i = 1; i < at.length; i++) body.push(bytes.subarray(at[i - 1], at[i]))
  return { items, envelope: body.end() }
}

describe('the body of a list', () => {
  it('gives the members one by one and the envelope without them', () => {
    const text =
      '{"kind":"NodeList","metadata":{"continue":"a,b"},"items":[{"a":[1,{"b":"}"}]}, {"c":"\\\\"}]}'
    expect(take(text)).toEqual({
      items: [{ a: [1, { b: '}' }] }, { c: '\\' }],
      envelope: { kind: 'NodeList', metadata: { continue: 'a,b' }, items: [] },
    })
  })

  it.each([
    ['null', null],
    ['[]', []],
  ])('takes a list without members, written as %s', (text, items) => {
    expect(take(`{"kind":"NodeList","items":${text}}`)).toEqual({
      items: [],
      envelope: { kind: 'NodeList', items },
    })
  })

  it.each(['', '{"kind":"NodeList","items":[{"a":1}', '{"items":[{"a":1},{"b"', 'busy, come again'])(
    'refuses a body that is cut short or no JSON: %s',
    text => {
      expect(() => take(text)).toThrow(SyntaxError)
    },
  )

  it('takes for a member only what stands in `items` of the list itself', () => {
    const text =
      '{"metadata":{"items":[{"a":1}]},"item":[{"b":1}],"items":[{"items":[{"c":1}]}],"itemsX":[{"d":1}]}'
    expect(take(text)).toEqual({
      items: [{ items: [{ c: 1 }] }],
      envelope: { metadata: { items: [{ a: 1 }] }, item: [{ b: 1 }], items: [], itemsX: [{ d: 1 }] },
    })
  })

  it('refuses a member and an envelope that are longer than any real one', () => {
    const body = () => new ListBody(() => {})
    const half = Buffer.alloc(MAX_OBJECT_BYTES / 2, 'x')
    for (const start of ['{"items":[{"a":"', '{"a":"', '{"a":[{"']) {
      const long = body()
      long.push(Buffer.from(start))
      long.push(half)
      expect(() => long.push(half), start).toThrow(TooLongError)
    }
    const crumbs = body()
    crumbs.push(Buffer.from('{"items":[{"a":"'))
    expect(() => {
      for (let n = 0; n < 200_000; n++) crumbs.push(Buffer.from('x'))
    }).toThrow(TooLongError)
  })

  it('refuses a list without an end', () => {
    const body = new ListBody(() => {})
    body.push(Buffer.from('{"items":['))
    const thousand = Buffer.from('{},'.repeat(1_000))
    for (let n = 0; n < 200; n++) body.push(thousand)
    expect(() => body.push(thousand)).toThrow('the list has no end after 200000 Nodes')
  })

  it('takes 10,000 members of a real size in one list, indented, and one of 1.5 MB', () => {
    const member = `{"metadata":{"name":"n"},"status":"${'x'.repeat(10_000)}"}`
    const big = `{"metadata":{"name":"big"},"status":"${'x'.repeat(1_500_000)}"}`
    let seen = 0
    const body = new ListBody(() => seen++)
    body.push(Buffer.from('{"kind":"NodeList","items":[\n'))
    for (let n = 0; n < 10_000; n++) body.push(Buffer.from(`    ${member},\n`))
    for (let at = 0; at < big.length; at += 1_400) body.push(Buffer.from(big.slice(at, at + 1_400)))
    body.push(Buffer.from('\n]}'))
    expect([seen, body.end()]).toEqual([10_001, { kind: 'NodeList', items: [] }])
  })

  it('gives the same however the bytes are cut, in any text', () => {
    const member = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue())
    const list = fc.record({ kind: fc.string(), metadata: fc.jsonValue(), items: fc.array(member) })
    fc.assert(
      fc.property(list, fc.array(fc.nat(), { maxLength: 20 }), fc.boolean(), (value, cuts, pretty) => {
        const text = JSON.stringify(value, undefined, pretty ? 2 : 0)
        const expected = JSON.parse(text)
        expect(take(text, cuts)).toEqual({ items: expected.items, envelope: { ...expected, items: [] } })
      }),
    )
  })
})
