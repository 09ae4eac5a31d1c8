import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

/**
 * Words that hide who acts, and what to write instead. A comment, a name and a log line are read once, at night, by an
 * engineer who did not write them and may not be a native speaker.
 */
const banned: readonly (readonly [RegExp, string])[] = [
  [
    /\b(somebody|someone|nobody|everybody|whoever)\b/i,
    'name the actor: kernel, operator, agent, peer, another program',
  ],
  [/\banew\b/i, 'again; a device is recreated'],
  [/\bfor ever\b/i, 'without end, or the bound'],
  [/\b(can|cannot) be had\b/i, 'the act that fails: cannot be read, made, downloaded'],
  [/\bof ours\b/i, 'our ..., one of our ...'],
  [/\blest\b/i, 'so that ... not'],
  [/\b(go|goes|going|went) on\b/i, 'continue, keep'],
  [/\bcannot hear each other\b/i, 'its packets would be dropped'],
  [/\b(Nudge|Echoes|Patience|Recall|Remembered|Rivals|LastWords|gust)\b/, 'the field’s own term'],
]

/** All text of the project that an engineer reads; this file has to name the words. */
function texts(): readonly string[] {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'])
  return listed
    .toString()
    .split('\0')
    .filter(path => /\.(ts|js|mjs|sh|md|ya?ml|service|conf|json|tpl|txt)$/.test(path))
    .filter(path => path !== 'package-lock.json' && path !== 'test/architecture/words.test.ts')
}

describe('the words of this project', () => {
  it('name who acts', () => {
    const found = texts().flatMap(path =>
      readFileSync(path, 'utf8')
        .split('\n')
        .flatMap((line, i) =>
          banned
            .filter(([word]) => word.test(line))
            .map(([word, instead]) => `${path}:${i + 1}: ${word.exec(line)?.[0]} (write: ${instead})`),
        ),
    )
    expect(found).toEqual([])
  })

  it('are looked for where they would be', () => {
    expect(texts()).toContain('agent/main.ts')
    expect(texts()).toContain('README.md')
    expect(texts().length).toBeGreaterThan(400)
  })

  it('are in comments no wider than the formatter makes code', () => {
    const isWide = (line: string) => line.length > 110 && /^ *(\/\/|\*|\/\*\*)/.test(line)
    const wide = texts()
      .filter(path => /^(agent|lease)\/.*\.ts$/.test(path))
      .flatMap(path => {
        const lines = readFileSync(path, 'utf8').split('\n')
        return lines.flatMap((line, i) => (isWide(line) ? [`${path}:${i + 1}`] : []))
      })
    expect(wide).toEqual([])
  })
})
