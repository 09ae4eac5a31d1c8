import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLogger } from '../../../../agent/status/log/logger.ts'
import { runSync } from '../../../support/exec.ts'
import { until } from '../../../support/until.ts'

describe('a log that cannot be written', () => {
  let folder: string
  const open: number[] = []
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'twill-log-'))
  })
  afterEach(() => {
    for (const fd of open.splice(0)) closeSync(fd)
    rmSync(folder, { recursive: true })
  })

  const use = (path: string, flags: number) => {
    const fd = openSync(path, flags)
    open.push(fd)
    return fd
  }

  it('to a reader that has stalled holds up nothing; what is lost is counted when the reader is back', async () => {
    const fifo = join(folder, 'fifo')
    runSync(['mkfifo', fifo])
    const fd = use(fifo, constants.O_RDWR | constants.O_NONBLOCK)
    const log = createLogger({ level: 'debug', fd })
    for (let i = 0; i < 20_000; i++) log.debug({ i }, 'a line')
    let text = ''
    const read = () => {
      const buffer = Buffer.alloc(1 << 20)
      try {
        for (;;) text += buffer.toString('utf8', 0, readSync(fd, buffer))
      } catch {
        return /"lost":\d+/.test(text)
      }
    }
    await until('the lines that were kept and the number of the others', read)
    const lines = text
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    const { lost } = lines.at(-1)
    expect(lost).toBeGreaterThan(1_000)
    expect(lines.slice(0, -1).map(({ i }) => i)).toEqual(Array.from({ length: 20_000 - lost }, (_, i) => i))
  })

  it('on a full disk throws nothing', () => {
    const log = createLogger({ level: 'debug', fd: use('/dev/full', constants.O_WRONLY) })
    for (let i = 0; i < 10; i++) log.debug({}, 'a line')
  })

  it('into a pipe that nothing reads any more throws nothing', () => {
    const fifo = join(folder, 'fifo')
    runSync(['mkfifo', fifo])
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK)
    const log = createLogger({ level: 'debug', fd: use(fifo, constants.O_WRONLY) })
    closeSync(reader)
    for (let i = 0; i < 10; i++) log.debug({}, 'a line')
  })
})
