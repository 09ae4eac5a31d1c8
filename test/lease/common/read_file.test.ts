import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FileError, readRegularFile, readRegularFileSync } from '../../../lease/common/read_file.ts'
import { runSync } from '../../support/exec.ts'

let folder = ''
let file = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'twill-read-file-'))
  file = join(folder, 'file')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Both ways to read, as one that rejects. */
const ways = [
  ['on a thread of its own', readRegularFile],
  ['on the calling thread', async (path: string, bytes: number) => readRegularFileSync(path, bytes)],
] as const

describe.each(ways)('a file that is read %s', (_, read) => {
  it('is read whole, to the last byte that is allowed, also where it has no size', async () => {
    writeFileSync(file, 'é'.repeat(50_000))
    expect(await read(file, 100_000)).toBe('é'.repeat(50_000))
    writeFileSync(file, '')
    expect(await read(file, 0)).toBe('')
    expect(await read('/proc/version', 4_096)).toMatch(/^Linux version .*\n$/)
  })

  it.each<[string, () => void, RegExp]>([
    ['a pipe that no process writes to', () => runSync(['mkfifo', file]), /it is no regular file/],
    ['a device without end', () => symlinkSync('/dev/zero', file), /it is no regular file/],
    ['a directory', () => mkdirSync(file), /it is no regular file/],
    [
      'larger than allowed',
      () => writeFileSync(file, 'x'.repeat(1_024)),
      /it has 1024 bytes, more than 1023/,
    ],
    [
      'of terabytes that no size tells of',
      () => symlinkSync('/proc/self/pagemap', file),
      /it has more than 1023 bytes/,
    ],
  ])('is refused where it is %s', async (_, make, message) => {
    make()
    const refused = await read(file, 1_023).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(FileError)
    expect((refused as Error).message).toMatch(message)
  })

  it('that is missing is the error of the system call', async () => {
    await expect(read(file, 1_023)).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
