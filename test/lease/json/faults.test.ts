import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { duplicateKeys, nameFault } from '../../../lease/json/faults.ts'
import { hostileJson, mutated } from '../../support/arbitrary.ts'

describe('JSON as people write it', () => {
  it.each([
    ['{"Network":"10.1.0.0/16",}', 'a comma with nothing after it: remove it at line 1, column 26'],
    [
      '{\n  // pods\n  "Network": 1\n}',
      'a comment, which JSON does not have: remove // pods at line 2, column 3',
    ],
    ['{"a":1 /* b */}', 'a comment, which JSON does not have: remove /* b */ at line 1, column 8'],
    ['# config\n{}', 'a comment, which JSON does not have: remove # config at line 1, column 1'],
    ["{'Network':1}", `other quotes than "…": write 'Network' with plain double quotes at line 1, column 2`],
    ['{“Network”:1}', 'other quotes than "…": write “Network” with plain double quotes at line 1, column 2'],
    ['{Network:1}', 'Network is neither a number, true, false nor null: text needs double quotes at line 1'],
    ['{"a":True}', 'True is neither a number, true, false nor null'],
    ['{"a":1\r\n"b":2}', 'a missing comma or colon before "b" at line 2, column 1'],
    ['{"a":{"b":1}', 'it ends before it is complete: 1 bracket(s) are not closed'],
    [JSON.stringify('{"Network":"10.1.0.0/16"}'), 'encoded twice: store the object itself'],
    ['\u0000{\u0000}', 'it is UTF-16, as some Windows programs save text: save it as UTF-8'],
  ])('%j is told that it has %s', (text, fault) => {
    expect(nameFault(text)).toContain(fault)
  })

  it('has no fault that is named where it is sound', () => {
    expect(nameFault(JSON.stringify('{"'))).toBeUndefined()
    fc.assert(
      fc.property(fc.json(), text => {
        expect(nameFault(text)).toBeUndefined()
      }),
    )
  })

  it('is never too strange to be looked at', () => {
    fc.assert(
      fc.property(mutated(hostileJson), text => {
        nameFault(text)
        try {
          JSON.parse(text)
        } catch {
          return
        }
        duplicateKeys(text)
      }),
      { numRuns: 200 },
    )
  })

  it('has the keys named that stand twice, in any case', () => {
    const text = '{"a":1,"b":[{"c":1},{"c":2,"x":"a,b:"}],"A":2,"d":{"e":{"f":1,"F":2}}}'
    expect(duplicateKeys(text)).toEqual(['A', 'd.e.F'])
  })
})
