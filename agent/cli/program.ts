import { Command as Commander, CommanderError, Option } from 'commander'
import { isUnexpected, messageOf } from '../../lease/common/errors.ts'
import { AddressError } from '../../lease/net/ip.ts'
import { type Env, storeFlags, variableName } from '../config/flags.ts'
import { FlagError, type FlagTable } from '../config/go_flags.ts'
import { parseStoreOptions } from '../config/store_options.ts'
import { type ExitCode, exitCode } from '../exit_code.ts'
import { version } from '../version.ts'
import type { Command, Output } from './command.ts'
import { goWords } from './go_words.ts'
import { StoreUnreachableError } from './read_store.ts'

interface Row {
  readonly name: string
  readonly description: string
  readonly load: () => Promise<Command>
}

const commands: readonly Row[] = [
  {
    name: 'map',
    description: 'which node has which subnet, and how it is reached',
    load: async () => (await import('./map.ts')).map,
  },
  {
    name: 'status',
    description: 'this node in ten lines: lease, device, store, what differs, what to do next',
    load: async () => (await import('./status.ts')).status,
  },
  {
    name: 'doctor',
    description: 'what is wrong on this host, with evidence, cause and remedy, the likeliest cause first',
    load: async () => (await import('./doctor.ts')).doctor,
  },
  {
    name: 'probe',
    description: 'active checks of the ways to the peers: round trips, what fits through, a bulk transfer',
    load: async () => (await import('./probe.ts')).probe,
  },
  {
    name: 'bundle',
    description: 'one archive of all of this for a bug report, secrets left out',
    load: async () => (await import('./bundle.ts')).bundle,
  },
  {
    name: 'diff',
    description:
      "what differs between this host's kernel and what its leases ask for, as ip and bridge commands",
    load: async () => (await import('./diff.ts')).diff,
  },
  {
    name: 'trace',
    description: 'the way of a packet between two addresses, hop by hop, and the first hop that is broken',
    load: async () => (await import('./trace.ts')).trace,
  },
  {
    name: 'reserve',
    description: 'set a subnet aside for a node, by its public IP: its lease never runs out (etcd)',
    load: async () => (await import('./reserve.ts')).reserve,
  },
  {
    name: 'release',
    description: 'drop the reservation of a subnet (etcd)',
    load: async () => (await import('./reserve.ts')).release,
  },
  {
    name: 'cleanup',
    description: 'remove from this node what a stopped agent left on it',
    load: async () => (await import('./cleanup.ts')).cleanup,
  },
]

/** Runs one command line (without the program's name). Prints what goes wrong, and returns the exit code. */
export async function run(words: readonly string[], env: Env, out: Output, err: Output): Promise<number> {
  const program = new Commander('twill')
    .description('Looks into a twill or flannel network')
    .version(version)
    .exitOverride()
    .configureOutput({ writeOut: text => out.write(text), writeErr: text => err.write(text) })
  let answer: number = exitCode.stopped
  let table: FlagTable = {}
  for (const { name, description, load } of commands) {
    const commander = program.command(name).description(description)
    if (!words.includes(name)) continue
    const command = await load()
    define(commander, command, env, out, err, code => {
      answer = code
    })
    table = { ...table, ...command.flags, ...(command.readsStore ? storeFlags : {}) }
  }
  try {
    await program.parseAsync([...goWords(words, table)], { from: 'user' })
    return answer
  } catch (error) {
    // commander has printed its own errors.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.stopped : exitCode.badFlag
    err.write(`twill: ${messageOf(error)}\n`)
    return exitCodeOf(error, err)
  }
}

function define(
  commander: Commander,
  { flags, readsStore, operands = [], run }: Command,
  env: Env,
  out: Output,
  err: Output,
  answered: (code: number) => void,
) {
  addOptions(commander, flags, () => '')
  if (readsStore) addOptions(commander, storeFlags, name => `${variableName(name)}, `)
  const store = () => {
    const { store, warnings } = parseStoreOptions(wordsOf(commander, storeFlags), env)
    for (const warning of warnings) err.write(`twill: ${warning}\n`)
    return store
  }
  for (const name of operands) commander.argument(name)
  commander.action(async () => {
    const namesStore = readsStore && wordsOf(commander, storeFlags).length > 0
    const context = { env, out, err, store, namesStore, operands: commander.args }
    answered(await run(wordsOf(commander, flags), context))
  })
}

function addOptions(commander: Commander, flags: FlagTable, note: (name: string) => string): void {
  for (const [name, { kind, help, default: byDefault }] of Object.entries(flags)) {
    const argument = kind === 'bool' ? '' : ` <${kind}>`
    const shown = kind === 'bool' || byDefault === '' ? '' : `default ${byDefault}`
    const notes = `${note(name)}${shown}`.replace(/, $/, '')
    commander.addOption(new Option(`--${name}${argument}`, notes === '' ? help : `${help} (${notes})`))
  }
}

/** The options that were given, as words that flags are parsed from. */
function wordsOf(commander: Commander, flags: FlagTable): readonly string[] {
  return commander.options.flatMap(option => {
    const attribute = option.attributeName()
    const isGiven = commander.getOptionValueSource(attribute) === 'cli'
    if (!isGiven || !Object.hasOwn(flags, option.name())) return []
    return [`--${option.name()}=${commander.getOptionValue(attribute)}`]
  })
}

function exitCodeOf(error: unknown, err: Output): ExitCode {
  if (error instanceof FlagError || error instanceof AddressError) return exitCode.badFlag
  if (error instanceof StoreUnreachableError) return exitCode.storeUnreachable
  if (!isUnexpected(error)) return exitCode.startUp
  if (error instanceof Error) err.write(`${error.stack}\n`)
  return exitCode.unexpected
}
