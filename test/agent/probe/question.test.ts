import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeQuestion, parseQuestion, QUESTION, type Question } from '../../../agent/probe/question.ts'
import { ExpectedError } from '../../../lease/common/errors.ts'
import { parseIp } from '../../../lease/net/ip.ts'

const [a, b, c] = ['10.244.1.7', 'fd10::1', '10.244.3.0'].map(parseIp) as [never, never, never]
const questions: readonly Question[] = [
  { ask: 'trace', from: a, to: b },
  { ask: 'trace', from: a, to: b, via: c },
  { ask: 'heard', address: a, port: 65_535, session: 2 ** 32 - 1 },
]

describe('a question to a peer', () => {
  it.each(questions)('is read as it was written: $ask', question => {
    const bytes = encodeQuestion(question)
    expect(bytes.readUInt32BE(0)).toBe(QUESTION)
    expect(bytes.at(-1)).toBe(10)
    expect(parseQuestion(bytes.toString('utf8', 4))).toEqual(question)
  })

  it('is refused where it is none, with an error that is expected', () => {
    for (const ask of [{ ask: 'heard', address: a, port: 0, session: 1 }, { ask: 'halt' }, {}])
      expect(parseQuestion(JSON.stringify(ask))).toBeUndefined()
    const sound = { ask: 'trace', from: a, to: b }
    const value = fc.oneof(fc.jsonValue(), fc.string(), fc.constant({ toString: 1 }))
    fc.assert(
      fc.property(fc.constantFrom('ask', 'from', 'to', 'via'), value, (name, other) => {
        try {
          parseQuestion(JSON.stringify({ ...sound, [name]: other }))
        } catch (error) {
          if (!(error instanceof ExpectedError)) throw error
        }
      }),
    )
  })
})
