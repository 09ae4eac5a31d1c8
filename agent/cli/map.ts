import { type Command, InvalidArgumentError } from 'commander'
import { openStore } from '../../lease/registry.ts'
import type { CommandContext } from './program.ts'
import { readStore } from './read_store.ts'
import { addStoreFlags, storeOf } from './store_flags.ts'
import { subnetMap } from './subnet_map.ts'

/** `twill map`: the leases in the store, each with why agents would refuse it. */
export function defineMap(command: Command, context: CommandContext): void {
  command
    .option('--json', 'print JSON')
    .option('--timeout <seconds>', 'how long to wait for the store', seconds, 5)
  addStoreFlags(command)
  command.action(async ({ json, timeout }: { json?: true; timeout: number }) => {
    const options = storeOf(command, context)
    const never = new AbortController().signal
    const view = await readStore(log => openStore(options, log), timeout * 1000, never)
    const { printJson, printMap } = await import('./print_map.ts')
    const map = subnetMap(view, options.kind)
    context.out.write(json ? printJson(map) : printMap(map))
  })
}

function seconds(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value > 0 && value <= 86_400) return value
  throw new InvalidArgumentError('It must be a number of seconds above 0.')
}
