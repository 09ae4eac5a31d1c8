import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { ExpectedError } from './errors.ts'

/** What lies there is no file that this program reads: a pipe, a device, more bytes than are allowed. */
export class FileError extends ExpectedError {
  override name = 'FileError'
}

/**
 * The text of a regular file of at most `maxBytes`. A pipe or a device in its place is refused: reading it would hold up one
 * of Node.js' few threads until another process writes to it, or would never end. Throws FileError, or the error of the
 * system call.
 */
export async function readRegularFile(path: string, maxBytes: number): Promise<string> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const facts = await handle.stat()
    if (!facts.isFile()) throw new FileError('it is no regular file')
    if (facts.size > maxBytes) throw new FileError(`it has ${facts.size} bytes, more than ${maxBytes}`)
    const parts: Buffer[] = []
    // One byte more than allowed: files of /proc have no size.
    for await (const part of handle.createReadStream({ end: maxBytes, autoClose: false })) parts.push(part)
    const bytes = Buffer.concat(parts)
    if (bytes.length > maxBytes) throw new FileError(`it has more than ${maxBytes} bytes`)
    return bytes.toString('utf8')
  } finally {
    await handle.close()
  }
}
