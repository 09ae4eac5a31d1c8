import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { encodeCache } from '../../../lease/cache/cache.ts'
import { LeaseCache } from '../../../lease/cache/lease_cache.ts'
import { runSync } from '../../support/exec.ts'
import { vxlanLease } from '../../support/leases.ts'
import { RecordingLog } from '../../support/log.ts'

const scope = 'etcd /coreos.com/network'
const content = {
  savedAtMs: 1_700_000_000_000,
  networkConfig: '{"Network":"10.1.0.0/16"}',
  leases: [vxlanLease('10.1.5.0-24', '02:00:00:00:00:05', '10.1.5.0/24 at 192.168.0.5')],
  notes: { any: ['thing', 1] } as unknown,
}

let folder: string
let file: string
let log: RecordingLog
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'twill-cache-'))
  file = join(folder, 'leases.json')
  log = new RecordingLog()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function cacheOf(at = file, readNotes = (notes: unknown) => notes, saveMs = 60_000) {
  return new LeaseCache({ file: at, scope, readNotes, saveMs, log })
}

async function write(at = file, what: Partial<typeof content> = {}): Promise<void> {
  const cache = cacheOf(at)
  cache.save(() => ({ ...content, ...what }))
  await cache.close()
}

describe('the lease cache', () => {
  it('reads again what was written, in a folder that is made for it, and leaves nothing beside it', async () => {
    const deeper = join(folder, 'a/b/leases.json')
    await write(deeper)
    expect(await cacheOf(deeper).load()).toEqual({ ...content, scope })
    expect(readdirSync(join(folder, 'a/b'))).toEqual(['leases.json'])
    expect(statSync(deeper).mode & 0o777).toBe(0o600)
    expect(log.lines).toEqual([])
  })

  it('is nothing where there is no file, without a word', async () => {
    expect(await cacheOf().load()).toBeUndefined()
    expect(log.lines).toEqual([])
  })

  it('writes the newest of many changes once, and all of them before it closes', async () => {
    let asked = 0
    const cache = cacheOf()
    for (let i = 1; i <= 100; i++)
      cache.save(() => {
        asked++
        return { ...content, savedAtMs: i }
      })
    await cache.close()
    expect(asked).toBe(1)
    expect((await cacheOf().load())?.savedAtMs).toBe(100)
  })

  it.each<[string, () => void, RegExp]>([
    ['is empty, as a full disk leaves it', () => writeFileSync(file, ''), /it is cut short/],
    ['is a directory', () => mkdirSync(file), /it is no regular file|EISDIR/],
    ['is a pipe that no process writes to', () => runSync(['mkfifo', file]), /it is no regular file/],
    ['is a device without end', () => symlinkSync('/dev/zero', file), /it is no regular file/],
    ['is larger than any cache', () => largeFile(), /it has 17825792 bytes, more than 16777216/],
    ['is a link to itself', () => symlinkSync(file, file), /ELOOP/],
    [
      'has a folder that all can write to',
      () => chmodSync(folder, 0o777),
      /other users can write to the directory/,
    ],
    ['has a file for a folder', () => blockFolder(), /ENOTDIR/],
  ])('that %s is one line and a start without it', async (_, spoil, message) => {
    spoil()
    expect(await cacheOf().load()).toBeUndefined()
    expect(log.lines).toHaveLength(1)
    expect(log.lines[0]?.message).toMatch(message)
    expect(log.lines[0]?.message).toMatch(/Cannot use the lease cache .*; starting without it$/)
  })

  it('whose notes are none of its store is one line and a start without it', async () => {
    await write()
    const readNotes = (): unknown => {
      throw new RangeError('these are no notes')
    }
    expect(await cacheOf(file, readNotes).load()).toBeUndefined()
    expect(log.lines.map(line => line.message)).toEqual([
      expect.stringContaining('these are no notes; starting without it'),
    ])
  })

  it('that cannot be written says so once, and leaves the file as it was', async () => {
    await write()
    const before = readFileSync(file, 'utf8')
    chmodSync(folder, 0o777)
    await write()
    await write()
    expect(log.lines).toHaveLength(2)
    expect(log.lines[0]?.message).toMatch(
      /Cannot save the leases in .*: other users can write to the directory/,
    )
    expect(readFileSync(file, 'utf8')).toBe(before)
    chmodSync(folder, 0o700)
    expect(await cacheOf().load()).toEqual({ ...content, scope })
  })

  it.skipIf(process.getuid?.() !== 0)('on a full disk stays as it was', async () => {
    const disk = join(folder, 'disk')
    mkdirSync(disk)
    const mounted = runSync(['mount', '-t', 'tmpfs', '-o', 'size=64k,mode=755', 'tmpfs', disk])
    if (mounted.code !== 0) return
    try {
      const onDisk = join(disk, 'leases.json')
      await write(onDisk)
      const before = readFileSync(onDisk, 'utf8')
      await write(onDisk, { leases: Array.from({ length: 2_000 }, () => content.leases).flat() })
      expect(log.lines.map(line => line.message)).toEqual([
        expect.stringMatching(/Cannot save the leases in .*ENOSPC/),
      ])
      expect(readFileSync(onDisk, 'utf8')).toBe(before)
      expect(readdirSync(disk)).toEqual(['leases.json'])
    } finally {
      runSync(['umount', disk])
    }
  })
})

function largeFile(): void {
  writeFileSync(file, encodeCache({ ...content, scope }))
  truncateSync(file, 17 * 1024 * 1024)
}

function blockFolder(): void {
  writeFileSync(join(folder, 'blocked'), '')
  file = join(folder, 'blocked', 'leases.json')
}
