import { expect, it } from 'vitest'
import { repeatedPhrase } from './repeated_phrase.ts'

it.each([
  ['cannot read x: a file is not there: cannot read x: a file is not there', 'cannot read x: a file is not'],
  ['cannot read x: a file is not there, and cannot read y: a file is not there', undefined],
  ['a a a a a a a a a a', undefined],
  ['', undefined],
])('a phrase that is said twice in %j', (text, phrase) => {
  expect(repeatedPhrase(text)).toBe(phrase)
})

it('is looked for in long texts without delay', () => {
  expect(repeatedPhrase(Array.from({ length: 100_000 }, (_, i) => i).join(' '))).toBeUndefined()
})
