import { existsSync } from 'node:fs'
import { LeaseCache } from '../../../lease/cache/lease_cache.ts'
import { isUnexpected } from '../../../lease/common/errors.ts'
import { silentLog } from '../../../lease/common/log.ts'
import { printable } from '../../../lease/common/printable.ts'
import { readWhole } from '../../../lease/common/replace_file.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'
import type { StoreOptions } from '../../../lease/options.ts'
import { lastSeenMarks } from '../../../lease/registry.ts'
import type { StoreView } from '../../map/subnet_map.ts'
import type { Output } from '../output/output.ts'
import { readStore } from './read_store.ts'
import { StoreUnreachableError } from './store_unreachable.ts'

/** How long to wait for the store if the cache has an answer. */
const LAST_SEEN_MS = 4_000

/** The store's answer; if it is unreachable, the agent's cached one, with a note. Throws as readStore. */
export async function readStoreOrLastSeen(
  options: StoreOptions,
  cacheFile: string,
  timeoutMs: number,
  err: Output,
  mostTimes = 0,
): Promise<StoreView> {
  // Only checks that the file exists: thousands of leases take long to read, and may not be needed.
  const patienceMs = existsSync(cacheFile) ? Math.min(timeoutMs, LAST_SEEN_MS) : timeoutMs
  try {
    return await readStore(options, patienceMs, mostTimes)
  } catch (error) {
    if (!(error instanceof StoreUnreachableError)) throw error
    // If the cache is unreadable for any reason, report the store's own answer.
    const seen = await lastSeen(options, cacheFile).catch(cause => {
      if (isUnexpected(cause)) throw cause
      return undefined
    })
    if (seen === undefined) throw error
    const when = new Date(seen.savedAtMs).toISOString()
    const stores = seen.stores.length === 0 ? '' : ` of ${seen.stores.join(', ')}`
    err.write(
      `twill: ${printable(error.message, 4_000)}\n` +
        `twill: this is what the agent saw last${printable(stores, 1_000)}, saved at ${when} in ${cacheFile}\n`,
    )
    return seen.view
  }
}

/** Undefined if there is no file of this store. `stores`: those that the leases came from. */
async function lastSeen(options: StoreOptions, cacheFile: string) {
  const { scope, storesOf } = await lastSeenMarks(options)
  // Silent: the store's error matters more than one of this file.
  const cache = new LeaseCache({ file: cacheFile, scope, readNotes: storesOf, saveMs: 0, log: silentLog })
  const cached = await cache.load()
  if (cached === undefined) return undefined
  // With Kubernetes the network config is a file.
  const config =
    options.kind === 'etcd'
      ? cached.networkConfig
      : await readWhole(options.networkConfigFile, AbortSignal.timeout(LAST_SEEN_MS))
  if (config === undefined) return undefined
  const table = new Map(cached.leases.map(lease => [lease.node, lease]))
  const network = parseNetworkConfig(config)
  const leases = { table, changed: new Set(table.keys()), problems: [] }
  return { view: { network, leases }, stores: cached.notes, savedAtMs: cached.savedAtMs }
}
