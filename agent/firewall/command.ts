import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { ExpectedError, messageOf } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'

/** A firewall tool failed. The message has the command and the tool's error text. */
export class FirewallError extends ExpectedError {
  override name = 'FirewallError'
}

export interface CommandOutput {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a firewall tool; `missing` where it is not installed. Rejects with the signal's reason. */
export type RunCommand = (
  command: readonly string[],
  input: string,
  signal: AbortSignal,
) => Promise<CommandOutput | 'missing'>

export const runCommand: RunCommand = async ([program = '', ...words], input, signal) => {
  signal.throwIfAborted()
  // The tools are in /usr/sbin, which a service's PATH may lack.
  const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`
  const child = start(program, words, { signal, killSignal: 'SIGKILL', env: { PATH, LC_ALL: 'C' } })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
    })
  // A tool that ends early closes the pipe; its exit code tells the result.
  child.stdin?.on('error', () => undefined)
  child.stdin?.end(input)
  return await new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (signal.aborted) reject(signal.reason)
      else if (error.code === 'ENOENT') resolve('missing')
      else reject(cannotRun(program, error))
    })
    child.once('close', code => resolve({ code: code ?? -1, ...output }))
  })
}

/** Logs each command and its exit code at trace level (`-v 2`). */
export function loggedCommands(log: Log, run: RunCommand): RunCommand {
  return async (command, input, signal) => {
    const output = await run(command, input, signal)
    const outcome = output === 'missing' ? output : output.code
    log.trace({ outcome, ...(input !== '' && { input }) }, `ran ${command.join(' ')}`)
    return output
  }
}

/** Without a free descriptor the child has no streams (EMFILE); without memory spawn() throws (ENOMEM). */
function start(
  program: string,
  words: readonly string[],
  options: SpawnOptions,
): Pick<ChildProcess, 'stdin' | 'stdout' | 'stderr' | 'once'> {
  try {
    return spawn(program, words, options)
  } catch (error) {
    throw cannotRun(program, error)
  }
}

function cannotRun(program: string, cause: unknown): FirewallError {
  return new FirewallError(`Cannot run ${program}: ${messageOf(cause)}`, { cause })
}

/** The error of a tool that failed: the act, then the tool's error text on one line. */
export function refusal(act: string, { code, stderr }: CommandOutput): FirewallError {
  const text = stderr.trim().replaceAll(/\s*\n\s*/g, '; ') || `exit code ${code}`
  return new FirewallError(`${act}: ${text}`)
}

/** False where the tool fails or is missing: for removals of rules that only a working tool can have made. */
export async function falseOnFailure(act: () => Promise<boolean>): Promise<boolean> {
  try {
    return await act()
  } catch (error) {
    if (error instanceof FirewallError) return false
    throw error
  }
}
