import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { shellQuote } from '../../../lease/common/shell_quote.ts'

describe('a command that is printed for a shell', () => {
  it('leaves plain words as they are, and quotes all else', () => {
    expect(shellQuote('ip', 'link', 'delete', 'eth0')).toBe('ip link delete eth0')
    expect(shellQuote('echo', '', '$(reboot)', "it's")).toBe(`echo '' '$(reboot)' 'it'\\''s'`)
    expect(shellQuote('echo', 'a\nb\u001b')).toBe(`echo $'a\\u000ab\\u001b'`)
  })

  it('reaches the program as the words that were given, whatever they hold', () => {
    const word = fc.string({ unit: fc.constantFrom(...'a\'"$`\\ ;&|<>(){}*?!~#\n\t\u001b=é'), maxLength: 12 })
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 20 }), words => {
        const line = `printf '%s\\0' ${shellQuote(...words)}`
        const said = execFileSync('bash', ['-c', line], { env: { ...process.env, LC_ALL: 'C.UTF-8' } })
        expect(said.toString('utf8')).toBe(words.map(it => `${it}\0`).join(''))
      }),
      { numRuns: 100 },
    )
  })
})
