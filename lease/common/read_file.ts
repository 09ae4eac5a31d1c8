import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { ExpectedError } from './errors.ts'

/** The path names no file to read: it is a pipe or a device, or has more bytes than allowed. */
export class FileError extends ExpectedError {
  override name = 'FileError'
}

/**
 * The text of a regular file of at most `maxBytes`: reading a pipe or device could block one of Node.js' few
 * threads for good. Throws FileError, or the error of the system call.
 */
export async function readRegularFile(path: string, maxBytes: number): Promise<string> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const facts = await handle.stat()
    if (!facts.isFile()) throw new FileError('it is no regular file')
    if (facts.size > maxBytes) throw new FileError(`it has ${facts.size} bytes, more than ${maxBytes}`)
    const parts: Buffer[] = []
    // Reads one byte more than allowed, because files of /proc have no size.
    for await (const part of handle.createReadStream({ end: maxBytes, autoClose: false })) parts.push(part)
    const bytes = Buffer.concat(parts)
    if (bytes.length > maxBytes) throw new FileError(`it has more than ${maxBytes} bytes`)
    return bytes.toString('utf8')
  } finally {
    await handle.close()
  }
}
