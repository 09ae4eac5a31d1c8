import { open, stat } from 'node:fs/promises'
import { messageOf } from '../../lease/common/errors.ts'
import { WholeFileError, writeWhole } from '../../lease/common/replace_file.ts'
import { shellQuote } from '../../lease/common/shell_quote.ts'

/** How a file was written: `replaced` by a new one, or `in place` where the file itself is a mount point. */
export type Written = 'replaced' | 'in place' | 'unchanged'

/** Most line feeds written over the rest of a longer file: no file of variables is longer. */
const MOST_FILL = 65_536

/** Throws WholeFileError, which says what to do. */
export async function writeNodeFile(path: string, text: string, signal: AbortSignal): Promise<Written> {
  try {
    return (await writeWhole(path, text, signal)) ? 'replaced' : 'unchanged'
  } catch (error) {
    if (!(error instanceof WholeFileError)) throw error
    const { code } = (error.cause ?? {}) as NodeJS.ErrnoException
    if (code === 'EBUSY') return await writeInPlace(path, text)
    throw new WholeFileError(`${error.message}; ${await remedy(path, code)}`, { cause: error })
  }
}

/**
 * Overwrites a file that is a mount point and cannot be replaced (rename(2), EBUSY). A single write also
 * fills the rest of a longer old text with line feeds: no reader sees the old end, which names another
 * subnet, after the new text.
 */
async function writeInPlace(path: string, text: string): Promise<Written> {
  try {
    const file = await open(path, 'r+')
    try {
      const length = Buffer.byteLength(text)
      const { size } = await file.stat()
      await file.writeFile(text + '\n'.repeat(Math.min(Math.max(0, size - length), MOST_FILL)))
      await file.truncate(length)
      await file.sync()
    } finally {
      await file.close()
    }
    return 'in place'
  } catch (cause) {
    const why = `it is a mount of its own, and writing in place fails: ${messageOf(cause)}`
    const message = `Cannot write ${path}: ${why}; mount its directory instead of the file, writable`
    throw new WholeFileError(message, { cause })
  }
}

async function remedy(path: string, code: string | undefined): Promise<string> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory())
    return `a directory is in its place, as Docker and Kubernetes make one for a mount of a file that was not there: remove it (${shellQuote('rmdir', path)})`
  if (code === 'EROFS') return 'mount its directory writable'
  return 'pods get no network until it can be written'
}
