/**
 * Ends the process with `code` once all that it wrote is out: a reader that is slow, as behind `| less`, has then got the whole
 * of it. What cannot be written, to a full disk for one, is said on stderr and makes the code 1. A reader that has closed its
 * end, as `head` does, wants no more: that is no error.
 */
export async function endProcess(name: string, code: number, errors?: LateErrors): Promise<never> {
  const all = [written(process.stdout), errors === undefined ? written(process.stderr) : errors.written()]
  await Promise.all(all).catch(error => fail(name, error))
  process.exit(code)
}

/** For a program that writes until its reader goes. Call it before the first word is written. */
export function endWhereOutputFails(name: string, errors?: LateErrors): void {
  process.stdout.on('error', error => fail(name, error))
  if (errors === undefined) endWhereErrorsFail()
}

function endWhereErrorsFail(): NodeJS.WriteStream {
  return process.stderr.on('error', () => process.exit(1))
}

/** stderr, opened by its first line: a program that prints none there starts in some ms of CPU less. */
export class LateErrors {
  #stream: NodeJS.WriteStream | undefined

  get isTTY(): boolean {
    return this.#opened().isTTY
  }

  write(text: string | Uint8Array): boolean {
    return this.#opened().write(text)
  }

  /** Resolves once all of it is out. */
  async written(): Promise<void> {
    if (this.#stream !== undefined) await written(this.#stream)
  }

  #opened(): NodeJS.WriteStream {
    this.#stream ??= endWhereErrorsFail()
    return this.#stream
  }
}

/** Callbacks of writes come in the order of the writes. */
function written(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write('', error => (error ? reject(error) : resolve()))
  })
}

function fail(name: string, error: NodeJS.ErrnoException): never {
  if (error.code === 'EPIPE') process.exit(0)
  // Loaded here: it costs more than a program's --help.
  const { getSystemErrorMap } = process.getBuiltinModule('node:util')
  const [, text] = getSystemErrorMap().get(error.errno ?? 0) ?? []
  process.stderr.write(`${name}: Cannot write the output: ${text ?? error.message}\n`)
  process.exit(1)
}
