import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readWhole, replaceFile, WholeFileError, writeWhole } from '../../../lease/common/replace_file.ts'
import { attempt, run } from '../../support/exec.ts'

const never = new AbortController().signal

describe('replacing a file', () => {
  let directory = ''
  let path = ''
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'twill-replace-file-'))
    path = join(directory, 'run', 'flannel', 'subnet.env')
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  it('makes the directory, and a file of the mode that was asked for', async () => {
    expect(await writeWhole(path, 'A=1\n', never)).toBe(true)
    expect(await readFile(path, 'utf8')).toBe('A=1\n')
    expect((await stat(path)).mode & 0o777).toBe(0o644)
    expect((await stat(join(directory, 'run'))).mode & 0o777).toBe(0o755)
    await replaceFile(path, 'secret', 0o600)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(await readdir(join(directory, 'run', 'flannel'))).toEqual(['subnet.env'])
  })

  it('leaves a file alone that says the same, and replaces one that does not as a whole', async () => {
    await writeWhole(path, 'A=1\n', never)
    const { ino } = await stat(path)
    expect(await writeWhole(path, 'A=1\n', never)).toBe(false)
    expect((await stat(path)).ino).toBe(ino)
    expect(await writeWhole(path, 'A=2\n', never)).toBe(true)
    expect((await stat(path)).ino).not.toBe(ino)
  })

  it('takes parts that come one by one, and none of them where one fails', async () => {
    async function* parts(fails: boolean) {
      yield Buffer.from('one ')
      yield Buffer.from('two')
      if (fails) throw new Error('the rest is missing')
    }
    await replaceFile(path, parts(false), 0o600)
    expect(await readFile(path, 'utf8')).toBe('one two')
    await expect(replaceFile(path, parts(true), 0o600)).rejects.toThrow(
      /Cannot write .*: the rest is missing/,
    )
    expect(await readFile(path, 'utf8')).toBe('one two')
    expect(await readdir(join(directory, 'run', 'flannel'))).toEqual(['subnet.env'])
  })

  it('replaces a pipe and a device, which it does not read', async () => {
    await mkdir(dirname(path), { recursive: true })
    await run(['mkfifo', path])
    expect(await writeWhole(path, 'A=1\n', never)).toBe(true)
    expect(await readFile(path, 'utf8')).toBe('A=1\n')
    await rm(path)
    await symlink('/dev/zero', path)
    expect(await writeWhole(path, 'A=2\n', never)).toBe(true)
    expect(await readFile(path, 'utf8')).toBe('A=2\n')
  })

  it('replaces a link, and leaves what it points to as it was', async () => {
    const [victim, link] = [join(directory, 'victim'), join(directory, 'link')]
    await writeFile(victim, 'as it was')
    await symlink(victim, link)
    await replaceFile(link, 'new', 0o644)
    expect(await readFile(victim, 'utf8')).toBe('as it was')
    expect(await readFile(link, 'utf8')).toBe('new')
  })

  it('removes drafts of processes that were killed long ago, and no other file', async () => {
    const name = (text: string) => join(directory, text)
    const others = ['.file.0011223344556677.tmp', '.file.tmp', '.other.0011223344556677.tmp']
    for (const other of others) await writeFile(name(other), '')
    await writeFile(name('.file.7766554433221100.tmp'), 'of a process that writes now')
    for (const other of others) await utimes(name(other), 1, 1)
    await replaceFile(name('file'), 'text', 0o644)
    expect((await readdir(directory)).sort()).toEqual(
      ['.file.7766554433221100.tmp', '.file.tmp', '.other.0011223344556677.tmp', 'file'].sort(),
    )
  })

  it('names the file and the reason where it cannot be written, and leaves no draft', async () => {
    await writeFile(join(directory, 'run'), 'a file where the directory should be')
    await expect(writeWhole(path, 'A=1\n', never)).rejects.toThrow(WholeFileError)
    await expect(writeWhole(path, 'A=1\n', never)).rejects.toThrow(
      /^Cannot write .*subnet\.env: (ENOTDIR|EEXIST)/,
    )
    expect(await readdir(directory)).toEqual(['run'])
  })

  it('keeps the old file on a full tmpfs, where an empty one could be renamed into place', async () => {
    const script = join(directory, 'write.mjs')
    await build({
      stdin: {
        contents: `import { writeWhole } from './lease/common/replace_file.ts'
          await writeWhole(process.argv[2], 'NEW='.padEnd(6000, 'x'), new AbortController().signal)
            .catch(error => console.log(error.name))`,
        resolveDir: process.cwd(),
      },
      bundle: true,
      platform: 'node',
      format: 'esm',
      outfile: script,
      banner: {
        js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)",
      },
    })
    const steps = [
      'mount -t tmpfs -o size=16k tmpfs /mnt && cd /mnt && echo OLD=1 > subnet.env',
      'dd if=/dev/zero of=filler bs=4k 2>/dev/null; : > empty && mv empty renamed',
      `"$1" "$2" /mnt/subnet.env; cat subnet.env; ls`,
    ].join('; ')
    const said = await attempt(['unshare', '--mount', 'sh', '-c', steps, 'sh', process.execPath, script])
    expect(said.stdout.trim().split('\n')).toEqual([
      'WholeFileError',
      'OLD=1',
      'filler',
      'renamed',
      'subnet.env',
    ])
  })

  it('reads nothing where there is nothing', async () => {
    expect(await readWhole(path, never)).toBeUndefined()
  })
})
