import { describe, expect, it } from 'vitest'
import { type JoinToken, parseJoinToken, printJoinToken } from '../../lease/join_token.ts'

const secret = Buffer.from('0123456789abcdef')
const token = (more: Partial<JoinToken> = {}): JoinToken => ({
  endpoints: ['https://192.168.50.1:2379'],
  prefix: '/coreos.com/network',
  secret,
  ...more,
})

describe('a join token', () => {
  it.each([
    {},
    { endpoints: ['https://192.168.50.1:2379', 'https://[fd00::1]:2479', 'https://host.example:2379'] },
    { prefix: '/other/network' },
    { prefix: '' },
    { prefix: 'a/b c' },
  ])('says all that a host needs to join: %o', more => {
    expect(parseJoinToken(printJoinToken(token(more)))).toEqual(token(more))
  })

  it('is one word that every shell leaves alone', () => {
    expect(printJoinToken(token({ endpoints: ['https://[fd00::1]:2379'] }))).toMatch(/^[\w-]+$/)
  })

  it('is refused where a part of it is missing or was changed, by a message that does not repeat it', () => {
    const text = printJoinToken(token())
    const bad = [
      '',
      text.slice(1),
      text.slice(0, -4),
      `${text.slice(0, 12)}${text[12] === 'A' ? 'B' : 'A'}${text.slice(13)}`,
      `${text} `,
      `twill1_${'A'.repeat(5000)}`,
      'twill1_',
    ]
    for (const one of bad) {
      const failure = (() => {
        try {
          return parseJoinToken(one)
        } catch (error) {
          return error
        }
      })()
      expect(failure).toMatchObject({ name: 'JoinTokenError' })
      expect(String(failure)).not.toContain(text.slice(8, 20))
    }
  })
})
