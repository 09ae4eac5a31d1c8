import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { ExpectedError } from './errors.ts'

/** The path names no file to read: it is a pipe or a device, or has more bytes than allowed. */
export class FileError extends ExpectedError {
  override name = 'FileError'
}

/** A pipe without a writer opens too. */
const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK
const PART_BYTES = 64 * 1024

/**
 * The text of a regular file of at most `maxBytes`: reading a pipe or device could block one of Node.js' few
 * threads for good. Throws FileError, or the error of the system call.
 */
export async function readRegularFile(path: string, maxBytes: number): Promise<string> {
  const handle = await open(path, FLAGS)
  try {
    check(await handle.stat(), maxBytes)
    const parts: Buffer[] = []
    // Reads one byte more than allowed, because files of /proc have no size.
    for await (const part of handle.createReadStream({ end: maxBytes, autoClose: false })) parts.push(part)
    return textOf(parts, maxBytes)
  } finally {
    await handle.close()
  }
}

/** As readRegularFile, but nothing else runs meanwhile: for a start or a command. */
export function readRegularFileSync(path: string, maxBytes: number): string {
  const fd = openSync(path, FLAGS)
  try {
    check(fstatSync(fd), maxBytes)
    const parts: Buffer[] = []
    for (let length = 0; length <= maxBytes; length += parts.at(-1)?.length ?? 0) {
      const part = Buffer.alloc(Math.min(PART_BYTES, maxBytes + 1 - length))
      const bytes = readSync(fd, part)
      if (bytes === 0) break
      parts.push(part.subarray(0, bytes))
    }
    return textOf(parts, maxBytes)
  } finally {
    closeSync(fd)
  }
}

/** Throws what readRegularFile does: for a file that a library reads in its own way. */
export async function requireRegularFile(path: string, maxBytes: number): Promise<void> {
  check(await stat(path), maxBytes)
}

function check(facts: Stats, maxBytes: number): void {
  if (!facts.isFile()) throw new FileError('it is no regular file')
  if (facts.size > maxBytes) throw new FileError(`it has ${facts.size} bytes, more than ${maxBytes}`)
}

function textOf(parts: readonly Buffer[], maxBytes: number): string {
  const bytes = Buffer.concat(parts)
  if (bytes.length > maxBytes) throw new FileError(`it has more than ${maxBytes} bytes`)
  return bytes.toString('utf8')
}
