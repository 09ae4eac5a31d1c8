import { storeFlags, variableName } from '../../config/flags.ts'
import type { Flag, FlagTable } from '../../config/go_flags.ts'
import { type CommandEntry, variableOf } from './command.ts'

export interface DescribedFlag {
  readonly name: string
  readonly kind: Flag['kind']
  readonly help: string
  /** All allowed values; undefined: any. */
  readonly choices: readonly string[] | undefined
  /** Text; empty: none, or a switch that is off. */
  readonly byDefault: string
  readonly variable: string | undefined
}

export interface DescribedCommand extends Omit<CommandEntry, 'load'> {
  readonly operands: readonly string[]
  readonly flags: readonly DescribedFlag[]
  readonly readsStore: boolean
}

/** Its help, with the allowed values, and with its variable and default in brackets. */
export function printFlagHelp({ help, choices, byDefault, variable }: DescribedFlag): string {
  const values = choices === undefined ? '' : `: ${choices.join(', ')}`
  const notes = [variable ?? [], byDefault === '' ? [] : `default ${byDefault}`].flat()
  return `${help}${values}${notes.length > 0 ? ` (${notes.join(', ')})` : ''}`
}

export const describedStoreFlags = describe(storeFlags, variableName)

/** Loads every command: completion and manual use the definitions that the parser reads. */
export function describeCommands(commands: readonly CommandEntry[]): Promise<readonly DescribedCommand[]> {
  return Promise.all(
    commands.map(async ({ load, ...entry }) => {
      const { flags, operands = [], readsStore } = await load()
      return { ...entry, operands, readsStore, flags: describe(flags, variableOf) }
    }),
  )
}

export function describe(
  table: FlagTable,
  variable: (name: string) => string | undefined,
): readonly DescribedFlag[] {
  return Object.entries(table).map(([name, { kind, help, choices, default: byDefault }]) => ({
    name,
    kind,
    help,
    choices,
    byDefault: byDefault === false ? '' : String(byDefault),
    variable: variable(name),
  }))
}
