import { printableDocument, printableJson } from '../../../lease/common/printable.ts'
import type { StoreOptions } from '../../../lease/options.ts'
import { type Env, variableName } from '../../config/flags.ts'
import { bool, type FlagTable, type FlagValues, oneOf, parseGoFlags } from '../../config/go_flags.ts'
import type { Output } from '../output/output.ts'

export interface CommandContext {
  readonly env: Env
  readonly out: Output
  readonly err: Output
  /** The store that the agent's flags and variables name. Throws ConfigError. */
  readonly store: () => StoreOptions
  /** Whether a flag names the store: the request then goes there, not to this host's agent. */
  readonly namesStore: boolean
  /** The command line's words that are not flags, one for each of the command's `operands`. */
  readonly operands: readonly string[]
  readonly commands: readonly CommandEntry[]
}

/** One command of the CLI: one file each, loaded only on use. */
export interface Command {
  readonly flags: FlagTable
  /** Whether it has the agent's store flags too. */
  readonly readsStore: boolean
  /** Words beside its flags: `<SRC>` is required, `[NODE]` may be left out. */
  readonly operands?: readonly string[]
  /** Exit code without an answer, instead of the one for the error's kind. */
  readonly noAnswerCode?: number
  /** `words` are its own flags, `--name=value`. Resolves to the exit code. */
  run(words: readonly string[], context: CommandContext): Promise<number>
}

/** A command's entry in the list, before it is loaded. */
export interface CommandEntry {
  readonly name: string
  readonly description: string
  readonly examples: readonly (readonly [string, string])[]
  readonly load: () => Promise<Command>
}

export function command<T extends FlagTable>(
  options: Omit<Command, 'run' | 'flags'> & { readonly flags: T },
  run: (values: FlagValues<T>, context: CommandContext) => Promise<number>,
): Command {
  return { ...options, run: (words, context) => run(parseGoFlags(options.flags, words).values, context) }
}

/** Flags that are the agent's own: what its variable says is where its socket and its files are. */
const agentFlags: ReadonlySet<string> = new Set(['local-socket', 'subnet-file', 'cache-file', 'probe-port'])

/** The variable that sets a command's own flag too. */
export function variableOf(flag: string): string | undefined {
  return agentFlags.has(flag) ? variableName(flag) : undefined
}

export const outputFlags = {
  json: bool(false, 'print JSON'),
  output: oneOf('', ['json'], 'as kubectl has it: the same as --json'),
}

export function answer<T>(
  { json, output }: FlagValues<typeof outputFlags>,
  out: Output,
  document: T,
  print: (document: T) => string,
): void {
  out.write(json || output === 'json' ? printJson(document) : print(printableDocument(document)))
}

export function printJson(document: unknown): string {
  return `${printableJson(document)}\n`
}
