import type { StoreOptions } from '../../lease/options.ts'
import type { Env } from '../config/flags.ts'
import { type FlagTable, type FlagValues, parseGoFlags } from '../config/go_flags.ts'

export interface Output {
  write(text: string): unknown
  /** A terminal, and its width; both are missing for a pipe or a file. */
  readonly isTTY?: boolean
  readonly columns?: number
}

/** What a command has of the world. */
export interface CommandContext {
  readonly env: Env
  readonly out: Output
  readonly err: Output
  /** The store that the agent's flags and variables name. Throws ConfigError. */
  readonly store: () => StoreOptions
  /** Whether a flag names the store: then the question is for that store, and not for this host's agent. */
  readonly namesStore: boolean
  /** The words of the command line that are no flags, one for each of the command's `operands`. */
  readonly operands: readonly string[]
}

/** One command of the CLI: a file each, loaded only when it is asked for. */
export interface Command {
  readonly flags: FlagTable
  /** Whether it has the agent's store flags too. */
  readonly readsStore: boolean
  /** Words beside its flags: `<SRC>` is needed, `[NODE]` may be left out. */
  readonly operands?: readonly string[]
  /** `words` are flags of its own, `--name=value`. Resolves to the exit code. */
  run(words: readonly string[], context: CommandContext): Promise<number>
}

/** Gives `run` the values of the flags, typed as the flags are. */
export function command<T extends FlagTable>(
  options: { readonly flags: T; readonly readsStore: boolean; readonly operands?: readonly string[] },
  run: (values: FlagValues<T>, context: CommandContext) => Promise<number>,
): Command {
  return { ...options, run: (words, context) => run(parseGoFlags(options.flags, words).values, context) }
}
