import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ExpectedError, messageOf } from './errors.ts'
import { readRegularFile } from './read_file.ts'

/** A file could not be written; its old content is unchanged. The message names the file and the reason. */
export class WholeFileError extends ExpectedError {
  override name = 'WholeFileError'
}

/** Text, or parts of a file that arrive one by one; an error among them leaves the old content in place. */
type Content = string | AsyncIterable<Uint8Array>

/** A draft older than this was left by a process that was killed. */
const STALE_MS = 60_000

/** Most bytes that are read back: more than any file written here, except etcd's data. */
const MOST_BYTES = 4 * 2 ** 20

/** Undefined where it is missing, unreadable, no regular file or larger than MOST_BYTES. */
export async function readWhole(path: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    signal.throwIfAborted()
    return await readRegularFile(path, MOST_BYTES)
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof Error) return undefined
    throw error
  }
}

/** As replaceFile, with mode 0644. Returns false where the file already held the text. */
export async function writeWhole(path: string, text: string, signal: AbortSignal): Promise<boolean> {
  if ((await readWhole(path, signal)) === text) return false
  await replaceFile(path, text, 0o644)
  return true
}

/** All or nothing, also after a power failure. Exactly `mode`, whatever the umask. Throws WholeFileError. */
export async function replaceFile(path: string, content: Content, mode: number): Promise<void> {
  const draft = join(dirname(path), `.${basename(path)}.${randomBytes(8).toString('hex')}.tmp`)
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 })
    await writeDraft(draft, content, mode)
    await rename(draft, path)
  } catch (cause) {
    await rm(draft, { force: true }).catch(() => {})
    throw new WholeFileError(`Cannot write ${path}: ${messageOf(cause)}`, { cause })
  }
  await removeStaleDrafts(path).catch(() => {})
}

/** O_EXCL: never through another user's link. On a full tmpfs only the size shows that the write failed. */
async function writeDraft(draft: string, content: Content, mode: number): Promise<void> {
  const file = await open(draft, 'wx', mode)
  let bytes = 0
  async function* counted(parts: AsyncIterable<Uint8Array>) {
    for await (const part of parts) {
      bytes += part.length
      yield part
    }
  }
  try {
    await writeFile(file, typeof content === 'string' ? content : counted(content))
    await file.chmod(mode)
    await file.sync()
    const { size } = await file.stat()
    if (typeof content === 'string') bytes = Buffer.byteLength(content)
    if (size !== bytes) throw new Error(`the disk took ${size} bytes of ${bytes}`)
  } finally {
    await file.close()
  }
}

async function removeStaleDrafts(path: string): Promise<void> {
  const [start, folder] = [`.${basename(path)}.`, dirname(path)]
  for (const name of await readdir(folder)) {
    if (!name.startsWith(start) || !/^[0-9a-f]{16}\.tmp$/.test(name.slice(start.length))) continue
    const { mtimeMs } = await stat(join(folder, name))
    if (Date.now() - mtimeMs > STALE_MS) await rm(join(folder, name))
  }
}
