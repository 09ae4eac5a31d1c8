import { type SpawnOptions, spawn, spawnSync } from 'node:child_process'

/** A command as a list of words; no shell reads it. */
export type Command = readonly string[]

export interface RunOptions {
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  /** The command is killed after this time; two minutes by default. */
  readonly withinMs?: number
}

export interface Output {
  /** The exit code; -1 for a process that a signal ended. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A command ended with another code than 0. The message has the command and its output. */
export class CommandError extends Error {
  override name = 'CommandError'
  readonly output: Output
  constructor(command: Command, output: Output) {
    const said = (output.stderr.trim() || output.stdout.trim()).slice(0, 4000)
    super(`Cannot run '${command.join(' ')}': exit code ${output.code}: ${said}`)
    this.output = output
  }
}

/** What the command writes to stdout. Throws CommandError. */
export async function run(command: Command, options: RunOptions = {}): Promise<string> {
  const output = await attempt(command, options)
  if (output.code !== 0) throw new CommandError(command, output)
  return output.stdout
}

/** Runs a command that may fail. Rejects only where it cannot be started, or with the signal's reason. */
export function attempt(command: Command, options: RunOptions = {}): Promise<Output> {
  const [program = '', ...words] = command
  return new Promise((resolve, reject) => {
    options.signal?.throwIfAborted()
    const child = spawn(program, words, spawnOptions(options))
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    child.stdout?.on('data', chunk => stdout.push(chunk))
    child.stderr?.on('data', chunk => stderr.push(chunk))
    // A command that does not read its input closes the pipe; its exit code tells the result.
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input ?? '')
    const late = AbortSignal.timeout(options.withinMs ?? 120_000)
    const signal = options.signal === undefined ? late : AbortSignal.any([late, options.signal])
    const abort = () => child.kill('SIGKILL')
    signal.addEventListener('abort', abort, { once: true })
    child.on('error', reject)
    child.on('close', code => {
      signal.removeEventListener('abort', abort)
      if (options.signal?.aborted) reject(options.signal.reason)
      else if (late.aborted)
        reject(new Error(`'${command.join(' ')}' took too long; it said: ${text(stderr) || text(stdout)}`))
      else resolve({ code: code ?? -1, stdout: text(stdout), stderr: text(stderr) })
    })
  })
}

/** Runs a command while this process exits, when nothing can be awaited. Never throws. */
export function runSync(command: Command, input = ''): Output {
  const [program = '', ...words] = command
  const { status, stdout, stderr } = spawnSync(program, words, { input, encoding: 'utf8' })
  return { code: status ?? -1, stdout: stdout ?? '', stderr: stderr ?? '' }
}

function spawnOptions(options: RunOptions): SpawnOptions {
  return { env: { ...process.env, ...options.env }, stdio: 'pipe' }
}

function text(chunks: Buffer[]): string {
  return Buffer.concat(chunks).toString()
}

/**
 * Maps with at most `limit` calls at the same time; results in the order of the items. The first failure
 * rejects.
 */
export async function mapBounded<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length)
  let next = 0
  const worker = async () => {
    for (let i = next++; i < items.length; i = next++) results[i] = await work(items[i] as T, i)
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker))
  return results
}
