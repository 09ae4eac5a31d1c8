/**
 * Ends the process with `code` after all its output was written, so that a slow reader such as `| less` gets
 * all of it. Where output cannot be written, such as to a full disk, it says so on stderr and exits with 1. A
 * reader that closes its end, as `head` does, is no error.
 */
export async function endProcess(name: string, code: number, errors?: LazyStderr): Promise<never> {
  const all = [written(process.stdout), errors === undefined ? written(process.stderr) : errors.written()]
  await Promise.all(all).catch(error => fail(name, error))
  process.exit(code)
}

/**
 * Ends the process at the first output error: for a program that writes until its reader closes. Call it
 * before the first write.
 */
export function endWhereOutputFails(name: string, errors?: LazyStderr): void {
  process.stdout.on('error', error => fail(name, error))
  if (errors === undefined) endWhereErrorsFail()
}

function endWhereErrorsFail(): NodeJS.WriteStream {
  return process.stderr.on('error', () => process.exit(1))
}

/**
 * stderr, opened at the first write: a program that writes nothing there starts some ms of CPU time faster.
 */
export class LazyStderr {
  #stream: NodeJS.WriteStream | undefined

  get isTTY(): boolean {
    return this.#opened().isTTY
  }

  write(text: string | Uint8Array): boolean {
    return this.#opened().write(text)
  }

  /** Resolves once everything was written. */
  async written(): Promise<void> {
    if (this.#stream !== undefined) await written(this.#stream)
  }

  #opened(): NodeJS.WriteStream {
    this.#stream ??= endWhereErrorsFail()
    return this.#stream
  }
}

/** Resolves after all earlier writes: a stream calls back in the order of the writes. */
function written(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write('', error => (error ? reject(error) : resolve()))
  })
}

function fail(name: string, error: NodeJS.ErrnoException): never {
  if (error.code === 'EPIPE') process.exit(0)
  // Loaded only here: loading it takes longer than printing --help.
  const { getSystemErrorMap } = process.getBuiltinModule('node:util')
  const [, text] = getSystemErrorMap().get(error.errno ?? 0) ?? []
  process.stderr.write(`${name}: Cannot write the output: ${text ?? error.message}\n`)
  process.exit(1)
}
