import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { createLogger, type LogLevel } from '../../../agent/status/logger.ts'
import type { Log } from '../../../lease/common/log.ts'
import { LeaseRefusedError } from '../../../lease/store.ts'

it('writes one JSON object a line, at once, from its level up', () => {
  const lines = logged('info', log => {
    log.debug({}, 'too fine')
    log.info({ peers: 3 }, 'ready')
    log.warn({}, 'careful')
    log.error({}, 'bad')
  })
  expect(lines).toEqual([
    { level: 'info', time: expect.stringMatching(/^\d{4}-.*Z$/), peers: 3, msg: 'ready' },
    expect.objectContaining({ level: 'warn', msg: 'careful' }),
    expect.objectContaining({ level: 'error', msg: 'bad' }),
  ])
})

it("prints an error with its causes, and the stack of none but an unexpected one's", () => {
  const [expected, unexpected] = logged('debug', log => {
    log.error({ error: new LeaseRefusedError('out of subnets', { cause: new Error('below') }) }, 'a')
    log.error({ error: new TypeError('x is undefined') }, 'b')
  }) as { error: Record<string, unknown> }[]
  expect(expected?.error).toMatchObject({ name: 'LeaseRefusedError', message: 'out of subnets' })
  expect(expected?.error.stack).toBeUndefined()
  expect(expected?.error.cause).toMatchObject({ message: 'below' })
  expect(unexpected?.error.stack).toMatch(/TypeError: x is undefined\n +at /)
})

function logged(level: LogLevel, use: (log: Log) => void): unknown[] {
  const directory = mkdtempSync(join(tmpdir(), 'twill-log-'))
  const path = join(directory, 'log')
  const fd = openSync(path, 'w')
  try {
    use(createLogger(level, fd))
    return readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
  } finally {
    closeSync(fd)
    rmSync(directory, { recursive: true })
  }
}
