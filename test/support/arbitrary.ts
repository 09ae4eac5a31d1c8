/** Generators for property tests. */
import fc from 'fast-check'
import { type Family, familyBits, type Ip, ipFromBytes, ipFromNumber } from '../../lease/net/ip.ts'
import { type Prefix, prefixOf } from '../../lease/net/prefix.ts'

const perFamily: Record<Family, { base: bigint; bytes: number }> = {
  ipv4: { base: 10n << 24n, bytes: 4 },
  ipv6: { base: 0xfd00n << 112n, bytes: 16 },
}

export const anyFamily: fc.Arbitrary<Family> = fc.constantFrom('ipv4', 'ipv6')

export function anyIp(family: Family): fc.Arbitrary<Ip> {
  const { bytes } = perFamily[family]
  return fc.uint8Array({ minLength: bytes, maxLength: bytes }).map(ipFromBytes)
}

export const anyPrefix: fc.Arbitrary<Prefix> = anyFamily.chain(family =>
  fc
    .tuple(anyIp(family), fc.integer({ min: 0, max: familyBits(family) }))
    .map(([ip, length]) => prefixOf(ip, length)),
)

/** Prefixes that differ in the last few bits of one network, so that two of them often overlap. */
export const nearPrefix: fc.Arbitrary<Prefix> = anyFamily.chain(family =>
  fc
    .tuple(
      fc.integer({ min: 0, max: 15 }),
      fc.integer({ min: familyBits(family) - 4, max: familyBits(family) }),
    )
    .map(([host, length]) => prefixOf(ipFromNumber(perFamily[family].base + BigInt(host), family), length)),
)

/** A text with a few characters dropped, doubled or exchanged. */
export function mutated(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const edit = fc.record({
    at: fc.nat(400),
    cut: fc.nat(3),
    insert: fc.oneof(fc.string({ maxLength: 3 }), fc.constantFrom('"', '{', '}', ',', '0', '-', '/', 'null')),
  })
  return fc.tuple(text, fc.array(edit, { minLength: 1, maxLength: 3 })).map(([valid, edits]) =>
    edits.reduce((so, { at, cut, insert }) => {
      const start = at % (so.length + 1)
      return so.slice(0, start) + insert + so.slice(start + cut)
    }, valid),
  )
}

/**
 * JSON text as an attacker writes it: any value, nested up to 100,000 deep, with keys that every JavaScript
 * object has.
 */
export const hostileJson: fc.Arbitrary<string> = fc.oneof(
  fc.json(),
  fc
    .tuple(
      fc.constantFrom('[', '{"a":', '{"__proto__":', '{"VNI":'),
      fc.oneof(fc.nat(40), fc.nat(100_000)),
      fc.json(),
      fc.boolean(),
    )
    .map(([open, depth, inside, closed]) => {
      const close = open === '[' ? ']' : '}'
      return open.repeat(depth) + inside + (closed ? close.repeat(depth) : '')
    }),
  fc.nat(200_000).map(length => JSON.stringify('x'.repeat(length))),
  fc
    .tuple(fc.constantFrom('__proto__', 'constructor', 'toString', 'VNI', 'vtepmac'), fc.json())
    .map(([key, value]) => `{${JSON.stringify(key)}:${value}}`),
)
