import fc from 'fast-check'
import { expect, it } from 'vitest'
import { printable, printableDocument, printableJson } from '../../../lease/common/printable.ts'

it('leaves text of any script as it is', () => {
  for (const text of ['node-1', 'Knoten für Züge', '節點', 'a b']) expect(printable(text)).toBe(text)
})

it.each([
  ['a line break', 'a\nb', 'a\\u000ab'],
  ['an escape sequence', '\x1b[2J', '\\u001b[2J'],
  ['a C1 control', '\x9b2J', '\\u009b2J'],
  ['a bidi override', 'a\u202eb', 'a\\u202eb'],
  ['a zero-width space', 'a\u200bb', 'a\\u200bb'],
  ['a line separator', 'a\u2028b', 'a\\u2028b'],
  ['half of a surrogate pair', 'a\ud800b', 'a\\ud800b'],
  ['a tag character', 'a\u{e0041}b', 'a\\udb40\\udc41b'],
])('escapes %s', (_, text, expected) => {
  expect(printable(text)).toBe(expected)
})

it('escapes a document of any shape, and JSON without changing what it says', () => {
  const document = { 'a\u202e': ['\u009b2J\n', { b: '\u{e0041}' }, null, 1, true] }
  expect(printableDocument(document, 20)).toEqual({
    'a\\u202e': ['\\u009b2J\\u000a', { b: '\\udb40\\udc41' }, null, 1, true],
  })
  const json = printableJson(document)
  expect(json).not.toMatch(/[^\n\P{C}]/u)
  expect(JSON.parse(json)).toEqual(document)
})

it('cuts what is long, and says how long it was', () => {
  expect(printable('x'.repeat(1_000_000))).toBe(`${'x'.repeat(200)}… (1000000 characters)`)
  expect(printable('x'.repeat(200))).toBe('x'.repeat(200))
  expect(printable('abcdef', 3)).toBe('abc… (6 characters)')
})

it('is bounded and holds nothing that steers a terminal, whatever it is given', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 2_000 }), text => {
      const shown = printable(text)
      expect(shown.length).toBeLessThan(200 * 6 + 30)
      expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
    }),
    { numRuns: 20 },
  )
})
