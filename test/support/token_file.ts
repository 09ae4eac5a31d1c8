import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { printJoinToken } from '../../lease/join_token.ts'

/** A join token, and a file with it in a directory that goes with the test file. */
export function tokenFile() {
  const directory = mkdtempSync(join(tmpdir(), 'twill-token-'))
  afterAll(() => rmSync(directory, { recursive: true }))
  const token = printJoinToken({
    endpoints: ['https://192.0.2.1:2379'],
    prefix: '/x',
    secret: Buffer.alloc(16, 1),
  })
  const file = join(directory, 'token')
  writeFileSync(file, `${token}\n`)
  return { directory, token, file }
}
