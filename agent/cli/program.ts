import { Command, CommanderError } from 'commander'
import { type ExitCode, exitCode } from '../exit_code.ts'
import type { Env } from '../flags.ts'
import { FlagError } from '../go_flags.ts'
import { isUnexpected } from '../unexpected.ts'
import { version } from '../version.ts'
import { StoreUnreachableError } from './read_store.ts'

export interface Output {
  write(text: string): unknown
}

export interface CommandContext {
  readonly env: Env
  readonly out: Output
  readonly err: Output
}

interface Row {
  readonly name: string
  readonly description: string
  /** Gives the command its options and its action; loaded only when the command is asked for. */
  readonly load: () => Promise<(command: Command, context: CommandContext) => void>
}

const commands: readonly Row[] = [
  {
    name: 'map',
    description: 'which node has which subnet, and how it is reached',
    load: async () => (await import('./map.ts')).defineMap,
  },
]

/** Runs one command line (without the program's name). Returns the exit code; prints errors, throws none that is expected. */
export async function run(words: readonly string[], env: Env, out: Output, err: Output): Promise<ExitCode> {
  const program = new Command('twill')
    .description('Looks into a twill or flannel network')
    .version(version)
    .exitOverride()
    .configureOutput({ writeOut: text => out.write(text), writeErr: text => err.write(text) })
  for (const { name, description, load } of commands) {
    const command = program.command(name).description(description)
    if (words.includes(name)) (await load())(command, { env, out, err })
  }
  try {
    await program.parseAsync(words, { from: 'user' })
    return exitCode.stopped
  } catch (error) {
    // commander has printed its own errors.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.stopped : exitCode.badFlag
    err.write(`twill: ${error instanceof Error ? error.message : error}\n`)
    return exitCodeOf(error, err)
  }
}

function exitCodeOf(error: unknown, err: Output): ExitCode {
  if (error instanceof FlagError) return exitCode.badFlag
  if (error instanceof StoreUnreachableError) return exitCode.storeUnreachable
  if (!isUnexpected(error)) return exitCode.startUp
  if (error instanceof Error) err.write(`${error.stack}\n`)
  return exitCode.unexpected
}
