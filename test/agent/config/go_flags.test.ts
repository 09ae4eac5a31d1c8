import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  bool,
  FlagError,
  int,
  list,
  parseGoFlags,
  printFlags,
  string,
} from '../../../agent/config/go_flags.ts'

const table = {
  b: bool(false, 'a boolean'),
  yes: bool(true, 'a boolean that is on'),
  iface: list('an interface'),
  n: int(5, 'a number'),
  s: string('x', 'a text'),
}

const parse = (...words: string[]) => parseGoFlags(table, words)
const values = (...words: string[]) => parse(...words).values

describe('the flag parser', () => {
  it('takes one dash or two, and a value behind = or as the next word', () => {
    for (const words of [['-iface', 'eth0'], ['--iface', 'eth0'], ['-iface=eth0'], ['--iface=eth0']])
      expect(values(...words).iface).toEqual(['eth0'])
  })

  it('counts an empty value, as templates make it, as not given', () => {
    const words = ['--iface=', '-b=', '-yes=', '-n=', '-s', '', '-iface', '']
    const { values, given, rest } = parse(...words)
    expect(values).toEqual({ b: false, yes: true, iface: [], n: 5, s: 'x' })
    expect([given.size, rest]).toEqual([0, []])
    expect(parse('-iface=eth0', '-iface=').values.iface).toEqual(['eth0'])
  })

  it('collects a list and lets the last of others win', () => {
    expect(values('-iface=a', '-iface', 'b', '-s=1', '-s', '2')).toMatchObject({ iface: ['a', 'b'], s: '2' })
  })

  it('takes a value that looks like a flag, as it is the next word', () => {
    expect(values('-s', '--b')).toMatchObject({ s: '--b', b: false })
    expect(values('-s=a=b').s).toBe('a=b')
  })

  it('never gives a boolean the next word: there the flags end', () => {
    const { values, rest } = parse('-b', 'false', '-n', '7')
    expect(values).toMatchObject({ b: true, n: 5 })
    expect(rest).toEqual(['false', '-n', '7'])
  })

  it('reads the booleans of strconv.ParseBool and no others', () => {
    for (const text of ['1', 't', 'T', 'TRUE', 'true', 'True']) expect(values(`-b=${text}`).b).toBe(true)
    for (const text of ['0', 'f', 'F', 'FALSE', 'false', 'False'])
      expect(values(`-yes=${text}`).yes).toBe(false)
    expect(() => parse('-b=yes')).toThrow('invalid boolean value "yes" for -b: parse error')
  })

  it('reads the numbers of strconv.ParseInt', () => {
    const read = {
      '10': 10,
      '-3': -3,
      '+3': 3,
      '0': 0,
      '010': 8,
      '0o17': 15,
      '0x1F': 31,
      '0b101': 5,
      '1_000': 1000,
    }
    for (const [text, value] of Object.entries(read)) expect(values(`-n=${text}`).n).toBe(value)
    for (const text of [' 1', '1.5', '1e3', '08', '0x', '1__0', '_1', 'abc'])
      expect(() => parse(`-n=${text}`)).toThrow(
        `invalid value ${JSON.stringify(text)} for flag -n: parse error`,
      )
    expect(() => parse('-n=9223372036854775808')).toThrow('value out of range')
  })

  it('ends at --, at a lone dash and at the first word that is no flag', () => {
    expect(parse('-b', '--', '-n', '1').rest).toEqual(['-n', '1'])
    expect(parse('-b', '-', '-n').rest).toEqual(['-', '-n'])
    expect(parse('-b', '', '-n').rest).toEqual(['', '-n'])
  })

  it('says what is wrong in the words of Go', () => {
    expect(() => parse('-nope')).toThrow('flag provided but not defined: -nope')
    expect(() => parse('--constructor=1')).toThrow('flag provided but not defined: -constructor')
    expect(() => parse('-s')).toThrow('flag needs an argument: -s')
    expect(() => parse('---etcd-password=s3cret')).toThrow('bad flag syntax: ---etcd-password=***')
    for (const word of ['---b', '-=1', '--=']) expect(() => parse(word)).toThrow(`bad flag syntax: ${word}`)
  })

  it('stops at -h and --help', () => {
    for (const word of ['-h', '--help', '-help'])
      expect(parse('-b', word, '-nope')).toMatchObject({ help: true, rest: ['-nope'], values: { b: true } })
  })

  it('knows which flags were given', () => {
    expect([...parse('-b=false', '-n', '5').given]).toEqual(['b', 'n'])
  })

  it('throws nothing but FlagError, whatever it reads', () => {
    const word = fc.oneof(
      fc.string({ maxLength: 8 }),
      fc.constantFrom('-b', '--b', '-n', '-s', '-iface', '--', '-', '-b=', '-n=0x', '-h', '--yes=F'),
      fc
        .tuple(
          fc.constantFrom('-', '--', '---'),
          fc.constantFrom('b', 'n', 's', 'iface', '__proto__'),
          fc.string(),
        )
        .map(([dashes, name, text]) => `${dashes}${name}=${text}`),
    )
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), words => {
        try {
          const { values, rest, help } = parse(...words)
          expect(typeof values.b).toBe('boolean')
          expect(Number.isFinite(values.n)).toBe(true)
          expect(typeof values.s).toBe('string')
          if (!help) expect(words.slice(words.length - rest.length)).toEqual(rest)
        } catch (error) {
          if (!(error instanceof FlagError)) throw error
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('reads back every value that it is given', () => {
    const given = fc.record({
      b: fc.boolean(),
      n: fc.maxSafeInteger(),
      s: fc.string({ minLength: 1 }),
      iface: fc.array(fc.string({ minLength: 1 })),
    })
    fc.assert(
      fc.property(given, fc.boolean(), ({ b, n, s, iface }, spaced) => {
        const one = (name: string, text: string) => (spaced ? [`-${name}`, text] : [`--${name}=${text}`])
        const words = [
          `-b=${b}`,
          ...one('n', String(n)),
          ...one('s', s),
          ...iface.flatMap(text => one('iface', text)),
        ]
        expect(values(...words)).toEqual({ b, n, s, iface, yes: true })
      }),
    )
  })
})

describe('the help', () => {
  it('prints each flag with its kind and its default', () => {
    expect(printFlags(table)).toBe(
      [
        '  --b\n        a boolean',
        '  --yes\n        a boolean that is on (default true)',
        '  --iface value (repeatable)\n        an interface',
        '  --n int\n        a number (default 5)',
        '  --s string\n        a text (default "x")\n',
      ].join('\n'),
    )
  })
})
