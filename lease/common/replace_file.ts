import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ExpectedError, messageOf } from './errors.ts'

/** A file could not be written; it is then as it was. The message names the file and the reason. */
export class WholeFileError extends ExpectedError {
  override name = 'WholeFileError'
}

/** A draft this old belongs to no process that still writes it. */
const STALE_MS = 60_000

/** The file's text; undefined where there is none, or none that can be read. */
export async function readWhole(path: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    return await readFile(path, { encoding: 'utf8', signal })
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof Error) return undefined
    throw error
  }
}

/** As replaceFile, for a file that all may read. Returns false where it says so already. */
export async function writeWhole(path: string, text: string, signal: AbortSignal): Promise<boolean> {
  if ((await readWhole(path, signal)) === text) return false
  await replaceFile(path, text, 0o644)
  return true
}

/**
 * Writes the file whole or not at all: a reader sees the old text or the new one, after a power failure too. `mode` is what
 * the file has afterwards, whatever the umask. Throws WholeFileError.
 */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const draft = join(dirname(path), `.${basename(path)}.${randomBytes(8).toString('hex')}.tmp`)
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 })
    await writeDraft(draft, text, mode)
    await rename(draft, path)
  } catch (cause) {
    await rm(draft, { force: true }).catch(() => {})
    throw new WholeFileError(`Cannot write ${path}: ${messageOf(cause)}`, { cause })
  }
  await removeStaleDrafts(path).catch(() => {})
}

/**
 * O_EXCL: a link or file that another user put there is not written through. On a full tmpfs an empty file is made and
 * renamed without an error: the size is what tells.
 */
async function writeDraft(draft: string, text: string, mode: number): Promise<void> {
  const file = await open(draft, 'wx', mode)
  try {
    await file.writeFile(text)
    await file.chmod(mode)
    await file.sync()
    const { size } = await file.stat()
    if (size !== Buffer.byteLength(text))
      throw new Error(`the disk took ${size} bytes of ${Buffer.byteLength(text)}`)
  } finally {
    await file.close()
  }
}

/** Drafts of processes that were killed while they wrote. */
async function removeStaleDrafts(path: string): Promise<void> {
  const [start, folder] = [`.${basename(path)}.`, dirname(path)]
  for (const name of await readdir(folder)) {
    if (!name.startsWith(start) || !/^[0-9a-f]{16}\.tmp$/.test(name.slice(start.length))) continue
    const { mtimeMs } = await stat(join(folder, name))
    if (Date.now() - mtimeMs > STALE_MS) await rm(join(folder, name))
  }
}
