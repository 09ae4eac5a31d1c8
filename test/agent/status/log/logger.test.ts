import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { LogLevel } from '../../../../agent/status/log/log_level.ts'
import { createLogger } from '../../../../agent/status/log/logger.ts'
import type { Log } from '../../../../lease/common/log.ts'
import { LeaseRefusedError } from '../../../../lease/store.ts'

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

it.each([
  ['no such file', undefined],
  ['Cannot read x: ENOENT', 'ENOENT'],
])('leaves out what the message holds already of a cause: %s', (cause, left) => {
  const [line] = logged('info', log => {
    const error = new LeaseRefusedError('Cannot read x: no such file', {
      cause: new LeaseRefusedError(cause),
    })
    log.error({ error }, 'a')
  }) as { error: Record<string, unknown> }[]
  expect(line?.error).toEqual({
    name: 'LeaseRefusedError',
    message: 'Cannot read x: no such file',
    ...(left && { cause: { name: 'LeaseRefusedError', message: left } }),
  })
})

it('leaves out the passwords of URLs', () => {
  const url = 'https://root:s3cret@10.0.0.1:2379'
  const lines = logged('info', log => {
    const cause = new LeaseRefusedError(`refused by ${url}`)
    log.warn({ url, error: new LeaseRefusedError('refused', { cause }) }, `asked ${url}`)
    log.error({ error: new TypeError(`bad ${url}`) }, 'a')
  })
  expect(JSON.stringify(lines)).toContain('asked https://***@10.0.0.1:2379')
  expect(JSON.stringify(lines)).not.toContain('s3cret')
})

it.each([975, 980, 985])('leaves out a password that the end of a long text goes through: %i', length => {
  const text = `${'x'.repeat(length)} https://root:s3cret@10.0.0.1:2379`
  const lines = logged('info', log => {
    log.warn({ text, error: new LeaseRefusedError(text) }, text)
    log.error({ error: new TypeError(`${'x'.repeat(7_000 + length)} https://root:s3cret@10.0.0.1`) }, 'a')
  })
  expect(JSON.stringify(lines)).not.toMatch(/root|s3c/)
})

it('bounds and escapes what it is given, however it comes', () => {
  const long = 'x'.repeat(1_000_000)
  const deep = { a: { a: { a: { a: { a: 'too deep' } } } } }
  const [line, error] = logged('info', log => {
    log.warn({ node: `\x1b[2J${long}`, list: Array(10_000).fill(long), deep }, `\u202e${long}`)
    log.error({ error: new LeaseRefusedError(long) }, 'b')
  }) as Record<string, unknown>[]
  expect(JSON.stringify(line).length).toBeLessThan(110_000)
  expect(JSON.stringify(error).length).toBeLessThan(2_000)
  expect(line?.msg).toMatch(/^\\u202exxx/)
  expect(line?.node).toMatch(/^\\u001b\[2Jxxx.*… \(1000004 characters\)$/)
  expect(JSON.stringify(line?.deep)).toContain('…')
})

it('writes no more than a few of any number of lines that are alike', () => {
  const lines = logged('info', log => {
    for (let i = 0; i < 2_000; i++) log.warn({ node: `n${i}` }, 'lease refused: not programmed')
    log.info({}, 'another line')
  })
  expect(lines).toHaveLength(21)
})

it('puts a priority in front where its file is the one that systemd named', () => {
  const directory = mkdtempSync(join(tmpdir(), 'twill-log-'))
  const path = join(directory, 'log')
  const fd = openSync(path, 'w')
  try {
    const { dev, ino } = fstatSync(fd)
    createLogger({ level: 'info', fd, journalStream: `${dev}:${ino}` }).warn({}, 'a')
    createLogger({ level: 'info', fd, journalStream: `${dev}:${ino + 1}` }).warn({}, 'b')
    createLogger({ level: 'info', fd, journalStream: '' }).warn({}, 'c')
    const starts = readFileSync(path, 'utf8').trim().split('\n')
    expect(starts.map(line => line.slice(0, 4))).toEqual(['<4>{', '{"le', '{"le'])
  } finally {
    closeSync(fd)
    rmSync(directory, { recursive: true })
  }
})

function logged(level: LogLevel, use: (log: Log) => void): unknown[] {
  const directory = mkdtempSync(join(tmpdir(), 'twill-log-'))
  const path = join(directory, 'log')
  const fd = openSync(path, 'w')
  try {
    use(createLogger({ level, fd }))
    return readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
  } finally {
    closeSync(fd)
    rmSync(directory, { recursive: true })
  }
}
