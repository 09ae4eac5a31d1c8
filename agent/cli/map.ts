import { openStore } from '../../lease/registry.ts'
import { bool, FlagError, int } from '../config/go_flags.ts'
import { subnetMap } from '../diagnose/subnet_map.ts'
import { command } from './command.ts'
import { readStore } from './read_store.ts'

const flags = {
  json: bool(false, 'print JSON'),
  timeout: int(5, 'seconds to wait for the store'),
}

/** `twill map`: the leases in the store, each with why agents would refuse it. */
export const map = command({ flags, readsStore: true }, async ({ json, timeout }, context) => {
  if (timeout < 1) throw new FlagError(`--timeout is ${timeout}: it must be at least 1`)
  const options = context.store()
  const view = await readStore(log => openStore(options, log), timeout * 1000)
  const { printJson, printMap } = await import('./print_map.ts')
  const leases = subnetMap(view, options.kind)
  context.out.write(json ? printJson(leases) : printMap(leases))
})
