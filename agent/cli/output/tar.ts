import { gzipSync } from 'node:zlib'

const BLOCK = 512

/** A gzipped tar archive of text files (POSIX ustar): a container may lack tar and a place to write. */
export function tarGz(files: ReadonlyMap<string, string>, nowMs: number): Buffer {
  const parts = Array.from(files, ([name, text]) => {
    const body = Buffer.from(text)
    return [header(name, body.length, nowMs), body, Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK)]
  })
  return gzipSync(Buffer.concat([...parts.flat(), Buffer.alloc(2 * BLOCK)]))
}

/** pax(1), ustar interchange format: fields by offset; numbers are octal text. */
function header(name: string, size: number, nowMs: number): Buffer {
  const block = Buffer.alloc(BLOCK)
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, '0')
  block.write(name, 0)
  block.write(octal(0o600, 7), 100)
  block.write(octal(0, 7), 108)
  block.write(octal(0, 7), 116)
  block.write(octal(size, 11), 124)
  block.write(octal(Math.floor(nowMs / 1000), 11), 136)
  // The checksum counts its own field as blanks.
  block.fill(' ', 148, 156)
  block.write('0', 156)
  block.write('ustar\u000000', 257)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${octal(sum, 6)}\u0000 `, 148)
  return block
}
