import { type Command, Option } from 'commander'
import type { StoreOptions } from '../../lease/options.ts'
import { parseStoreOptions } from '../config.ts'
import { storeFlags, variableName } from '../flags.ts'
import type { CommandContext } from './program.ts'

/** Gives a command the agent's flags that say which store there is; its variables count as well. */
export function addStoreFlags(command: Command): void {
  for (const [name, { kind, help, default: byDefault }] of Object.entries(storeFlags)) {
    const argument = kind === 'bool' ? '' : ` <${kind}>`
    const shown = byDefault === '' || byDefault === false ? '' : `, default ${byDefault}`
    command.addOption(new Option(`--${name}${argument}`, `${help} (${variableName(name)}${shown})`))
  }
}

/** The store that a command's flags and the variables name. Throws ConfigError. */
export function storeOf(command: Command, { env, err }: CommandContext): StoreOptions {
  const words = command.options.flatMap(option => {
    const name = option.name()
    const attribute = option.attributeName()
    if (!Object.hasOwn(storeFlags, name) || command.getOptionValueSource(attribute) !== 'cli') return []
    return [`--${name}=${command.getOptionValue(attribute)}`]
  })
  const { store, warnings } = parseStoreOptions(words, env)
  for (const warning of warnings) err.write(`twill: ${warning}\n`)
  return store
}
