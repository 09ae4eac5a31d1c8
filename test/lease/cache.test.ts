import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  type CachedLeases,
  CacheError,
  decodeCache,
  encodeCache,
  readCache,
  writeCache,
} from '../../lease/cache.ts'
import { hostileJson } from '../support/arbitrary.ts'
import { runSync } from '../support/exec.ts'
import { vxlanLease } from '../support/leases.ts'

const cached: CachedLeases = {
  scope: 'etcd /coreos.com/network',
  savedAtMs: 1_700_000_000_000,
  networkConfig: '{"Network":"10.1.0.0/16"}',
  leases: [
    vxlanLease('10.1.5.0-24', '02:00:00:00:00:05', '10.1.5.0/24 at 192.168.0.5'),
    vxlanLease(
      '10.1.6.0-24&fd00:6::-64',
      '02:00:00:00:00:06',
      '10.1.6.0/24 at 192.168.0.6',
      'fd00:6::/64 at fd00:aa::6',
    ),
  ],
  notes: { any: ['thing', 1] },
}

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'twill-cache-'))
  file = join(folder, 'leases.json')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('what was written is read again, in a folder that is made for it', async () => {
  const deeper = join(folder, 'a/b/leases.json')
  await writeCache(deeper, cached)
  expect(await readCache(deeper, cached.scope)).toEqual(cached)
  expect(readdirSync(join(folder, 'a/b'))).toEqual(['leases.json'])
})

test('no file is no cache and no error', async () => {
  expect(await readCache(file, cached.scope)).toBeUndefined()
})

test('a file of another scope is refused', async () => {
  await writeCache(file, cached)
  await expect(readCache(file, 'etcd /other')).rejects.toThrow(
    new CacheError(
      `Cannot use the lease cache ${file}: it is of 'etcd /coreos.com/network', not of 'etcd /other'`,
    ),
  )
})

test('a file that was cut short anywhere, or has any other byte, is refused', () => {
  const text = encodeCache(cached)
  fc.assert(
    fc.property(fc.nat(text.length - 1), length => {
      expect(() => decodeCache(text.slice(0, length))).toThrow()
    }),
  )
  fc.assert(
    fc.property(fc.nat(text.length - 1), at => {
      const other = text[at] === 'x' ? 'y' : 'x'
      expect(() => decodeCache(text.slice(0, at) + other + text.slice(at + 1))).toThrow()
    }),
  )
})

test('a file of a later version is refused, with the version', () => {
  const text = encodeCache(cached).replace('"version":1', '"version":2')
  expect(() => decodeCache(text)).toThrow('it has version 2, this program knows 1')
})

test('an empty file, as a full disk leaves behind, is refused', async () => {
  writeFileSync(file, '')
  await expect(readCache(file, cached.scope)).rejects.toThrow(CacheError)
})

test('leases that are none are refused, though the checksum is right', () => {
  const bad = {
    ...cached,
    leases: [{ ...cached.leases[0], subnets: [{ prefix: '10.1.5.0/99', publicIp: '1.2.3.4' }] }],
  }
  expect(() => decodeCache(encodeCache(bad as unknown as CachedLeases))).toThrow('length must be 0-32')
})

test('a write that fails leaves the file as it was, and nothing beside it', async () => {
  await writeCache(file, cached)
  const before = readFileSync(file, 'utf8')
  const blocked = join(folder, 'blocked')
  mkdirSync(join(blocked, 'leases.json/x'), { recursive: true })
  await expect(writeCache(join(blocked, 'leases.json'), cached)).rejects.toThrow(CacheError)
  expect(readdirSync(blocked)).toEqual(['leases.json'])
  expect(readFileSync(file, 'utf8')).toBe(before)
})

test.skipIf(process.getuid?.() !== 0)('a full disk leaves the file as it was', async () => {
  const disk = join(folder, 'disk')
  mkdirSync(disk)
  const mounted = runSync(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk])
  if (mounted.code !== 0) return
  try {
    const onDisk = join(disk, 'leases.json')
    await writeCache(onDisk, cached)
    const before = readFileSync(onDisk, 'utf8')
    const many = Array.from({ length: 2_000 }, () => cached.leases).flat()
    await expect(writeCache(onDisk, { ...cached, leases: many })).rejects.toThrow(/ENOSPC/)
    expect(readFileSync(onDisk, 'utf8')).toBe(before)
    expect(readdirSync(disk)).toEqual(['leases.json'])
  } finally {
    runSync(['umount', disk])
  }
})

test('any JSON under a right checksum is refused with an error of its own, or read as leases that can be used', async () => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(hostileJson, fc.json().map(inEachPlace)), async body => {
      const sha256 = createHash('sha256').update(body).digest('hex')
      writeFileSync(file, `${JSON.stringify({ format: 'twill-leases', version: 1, sha256 })}\n${body}\n`)
      const error = await readCache(file, cached.scope).then(
        read => JSON.stringify(read) && undefined,
        (caught: unknown) => caught,
      )
      if (error !== undefined) expect(error).toBeInstanceOf(CacheError)
    }),
  )
})

/** The same foreign value wherever a lease could have one. */
function inEachPlace(value: string): string {
  const subnet = `{"prefix":"10.1.5.0/24","publicIp":"192.168.0.5","backendData":${value}}`
  const lease = `{"node":"n","backendType":"vxlan","since":1,"subnets":[${subnet}]}`
  return `{"scope":"${cached.scope}","savedAtMs":1,"leases":[${lease}],"notes":${value}}`
}
