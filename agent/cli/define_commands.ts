import { printable } from '../../lease/common/printable.ts'
import { storeFlags } from '../config/flags.ts'
import { FlagError, type FlagTable, readFlag } from '../config/go_flags.ts'
import { type Command, type CommandContext, type CommandEntry, variableOf } from './definition/command.ts'
import { type DescribedFlag, describe, describedStoreFlags, printFlagHelp } from './definition/described.ts'
import { printExamples } from './definition/print_examples.ts'
import { goWords } from './go_words.ts'
import type { Parser } from './parser.ts'

/** How commander declares a value that may be left out. A switch takes it behind `=` alone. */
const SWITCH = ' [bool]'

/** Longest warning, in characters. */
const LONGEST = 1_000

type SharedContext = Pick<CommandContext, 'env' | 'out' | 'err' | 'commands'>

/**
 * Loads the commands that `words` name. Calls `answered` with an exit code. Resolves to the words in the form
 * that commander reads, and to `noAnswerCode` of the command that is the first word. Throws FlagError.
 */
export async function defineCommands(
  parser: Parser,
  words: readonly string[],
  shared: SharedContext,
  answered: (code: number) => void,
) {
  let table: FlagTable = {}
  let noAnswerCode: number | undefined
  for (const entry of shared.commands) {
    const commander = parser.commands.find(one => one.name() === entry.name)
    if (!words.includes(entry.name) || commander === undefined) continue
    const command = await entry.load()
    define(commander, entry, command, shared, answered)
    table = { ...table, ...command.flags, ...(command.readsStore ? storeFlags : {}) }
    if (words[0] === entry.name) noAnswerCode = command.noAnswerCode
  }
  return { words: goWords(words, table), noAnswerCode }
}

function define(
  commander: Parser,
  { examples }: CommandEntry,
  { flags, readsStore, operands = [], run }: Command,
  shared: SharedContext,
  answered: (code: number) => void,
) {
  commander.configureHelp({ optionTerm: option => option.flags.replace(SWITCH, '[=bool]') })
  for (const flag of describe(flags, variableOf)) addOption(commander, flag)
  if (readsStore) for (const flag of describedStoreFlags) addOption(commander, flag)
  commander.addHelpText('after', `\nExamples:\n${printExamples([{ examples }])}`)
  for (const name of operands) commander.argument(name)
  commander.action(async () => {
    const storeWords = wordsOf(commander, storeFlags)
    const store = await storeReader(storeWords, shared)
    const namesStore = readsStore && storeWords.length > 0
    const own = [...wordsOfVariables(flags, shared), ...wordsOf(commander, flags)]
    answered(await run(own, { ...shared, store, namesStore, operands: commander.args }))
  })
}

/** Reads the store's flags and variables at its first call, and prints their warnings once. */
async function storeReader(words: readonly string[], { env, err }: SharedContext) {
  const { parseStoreOptions } = await import('../config/store_options.ts')
  let read: ReturnType<CommandContext['store']> | undefined
  return () => {
    if (read !== undefined) return read
    const { store, warnings } = parseStoreOptions(words, env)
    for (const warning of warnings) err.write(`twill: ${printable(warning, LONGEST)}\n`)
    read = store
    return store
  }
}

function addOption(commander: Parser, flag: DescribedFlag): void {
  const { name, kind } = flag
  const argument = kind === 'bool' ? SWITCH : ` <${kind}>`
  const short = name === 'output' ? '-o, ' : ''
  const option = commander.createOption(`${short}--${name}${argument}`, printFlagHelp(flag))
  if (kind === 'list')
    option.argParser((text: string, before?: readonly string[]) => [...(before ?? []), text])
  commander.addOption(option)
}

/** As the command line would have them; one that cannot be read is warned of, as twilld does. */
function wordsOfVariables(flags: FlagTable, { env, err }: SharedContext): readonly string[] {
  return Object.entries(flags).flatMap(([name, flag]) => {
    const variable = variableOf(name)
    const text = variable === undefined ? undefined : env[variable]
    if (text === undefined || text === '') return []
    try {
      readFlag(name, flag, text)
      return [`--${name}=${text}`]
    } catch (error) {
      if (!(error instanceof FlagError)) throw error
      err.write(`twill: ${variable} is passed over: ${printable(error.message, LONGEST)}\n`)
      return []
    }
  })
}

function wordsOf(commander: Parser, flags: FlagTable): readonly string[] {
  return commander.options.flatMap(option => {
    const attribute = option.attributeName()
    const isGiven = commander.getOptionValueSource(attribute) === 'cli'
    if (!isGiven || !Object.hasOwn(flags, option.name())) return []
    return [commander.getOptionValue(attribute)].flat().map(value => `--${option.name()}=${value}`)
  })
}
