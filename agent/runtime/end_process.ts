import { getSystemErrorMap } from 'node:util'

/**
 * Ends the process with `code` once all that it wrote is out: a reader that is slow, as behind `| less`, has then got the whole
 * of it. What cannot be written, to a full disk for one, is said on stderr and makes the code 1. A reader that has closed its
 * end, as `head` does, wants no more: that is no error.
 */
export async function endProcess(name: string, code: number): Promise<never> {
  await Promise.all([written(process.stdout), written(process.stderr)]).catch(error => fail(name, error))
  process.exit(code)
}

/** For a program that writes until its reader goes. Call it before the first word is written. */
export function endWhereOutputFails(name: string): void {
  process.stdout.on('error', error => fail(name, error))
  process.stderr.on('error', () => process.exit(1))
}

/** Callbacks of writes come in the order of the writes. */
function written(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write('', error => (error ? reject(error) : resolve()))
  })
}

function fail(name: string, error: NodeJS.ErrnoException): never {
  if (error.code === 'EPIPE') process.exit(0)
  const [, text] = getSystemErrorMap().get(error.errno ?? 0) ?? []
  process.stderr.write(`${name}: Cannot write the output: ${text ?? error.message}\n`)
  process.exit(1)
}
