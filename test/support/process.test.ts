import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { Process } from './process.ts'

const folder = mkdtempSync(join(tmpdir(), 'twill-process-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('stop', () => {
  it('resolves to how the process ended by its signal', async () => {
    const process = new Process(
      ['sh', '-c', 'trap "exit 7" TERM; echo up; sleep 600 & wait'],
      join(folder, 'ends'),
    )
    await process.says(/up/)
    expect(await process.stop()).toEqual({ code: 7, signal: null })
  })

  it('kills a process that does not end by its signal, and throws', async () => {
    const process = new Process(['sh', '-c', 'trap "" TERM; echo up; sleep 600'], join(folder, 'hangs'))
    await process.says(/up/)
    await expect(process.stop('SIGTERM', 500)).rejects.toThrow(
      /^'sh -c .*' did not end within 0.5 s of SIGTERM; it said:\nup\n$/,
    )
    expect(process.exit).toEqual({ code: null, signal: 'SIGKILL' })
  })
})
