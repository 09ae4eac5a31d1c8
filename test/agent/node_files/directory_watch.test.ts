import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { DirectoryWatch } from '../../../agent/node_files/directory_watch.ts'
import { until } from '../../support/until.ts'

let root: string
let heard: number
let watch: DirectoryWatch
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'watch-'))
  heard = 0
  watch = new DirectoryWatch(() => {
    heard += 1
  })
})
afterEach(async () => {
  watch.close()
  await rm(root, { recursive: true })
})

test('a directory is watched once it is there, and each change in it is told', async () => {
  const directory = join(root, 'net.d')
  expect([await watch.follow(directory), watch.isComplete]).toEqual([false, false])
  await mkdir(directory)
  expect([await watch.follow(directory), watch.isComplete]).toEqual([true, true])
  expect(await watch.follow(directory)).toBe(false)
  await writeFile(join(directory, '10-other.conf'), '{}')
  await until('the change to be told', () => heard > 0)
})

test('all directories are watched only where each is', async () => {
  await watch.follow(root)
  expect(watch.isComplete).toBe(true)
  await watch.follow(join(root, 'missing'))
  expect(watch.isComplete).toBe(false)
})

test('another directory under the same name is watched in its place', async () => {
  const directory = join(root, 'net.d')
  await mkdir(directory)
  await watch.follow(directory)
  await rename(directory, join(root, 'old.d'))
  await mkdir(directory)
  expect(await watch.follow(directory)).toBe(true)
  heard = 0
  await writeFile(join(directory, '10-other.conf'), '{}')
  await until('the change to be told', () => heard > 0)
})
