import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ExpectedError, messageOf } from './errors.ts'

/** A file that pods wait for could not be written. The message names the file and the remedy. */
export class WholeFileError extends ExpectedError {
  override name = 'WholeFileError'
}

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

/**
 * Writes the file whole or not at all: a reader sees the old text or the new one. Returns false where it says so already.
 * Throws WholeFileError.
 */
export async function writeWhole(path: string, text: string, signal: AbortSignal): Promise<boolean> {
  if ((await readWhole(path, signal)) === text) return false
  const draft = `${path}.${process.pid}.tmp`
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 })
    await writeDraft(draft, text)
    await rename(draft, path)
    return true
  } catch (cause) {
    await rm(draft, { force: true }).catch(() => {})
    const reason = messageOf(cause)
    throw new WholeFileError(
      `Cannot write ${path}: ${reason}; pods get no network until this directory can be written to`,
      { cause },
    )
  }
}

/** On a full tmpfs an empty file is made and renamed without an error: the size is what tells. */
async function writeDraft(draft: string, text: string): Promise<void> {
  const file = await open(draft, 'w', 0o644)
  try {
    await file.writeFile(text)
    await file.chmod(0o644)
    await file.sync()
  } finally {
    await file.close()
  }
  const { size } = await stat(draft)
  if (size !== Buffer.byteLength(text))
    throw new WholeFileError(`${draft} holds ${size} bytes of ${text.length}`)
}
