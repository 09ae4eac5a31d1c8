import type { Log } from '../../lease/common/log.ts'
import { LeaseCache } from '../../lease/lease_cache.ts'
import { parseNetworkConfig } from '../../lease/network_config.ts'
import type { StoreOptions } from '../../lease/options.ts'
import type { StoreView } from '../diagnose/subnet_map.ts'
import type { Output } from './command.ts'
import { readStore, StoreUnreachableError } from './read_store.ts'

/** How long the store is waited for where there is another answer. */
const LAST_SEEN_MS = 4_000

/** The store's answer; where it cannot be reached, what this host's agent saw last, with a note. Throws as readStore. */
export async function readStoreOrLastSeen(
  options: StoreOptions,
  cacheFile: string,
  timeoutMs: number,
  err: Output,
): Promise<StoreView> {
  const seen = await lastSeen(options, cacheFile)
  try {
    return await readStore(options, seen === undefined ? timeoutMs : Math.min(timeoutMs, LAST_SEEN_MS))
  } catch (error) {
    if (!(error instanceof StoreUnreachableError) || seen === undefined) throw error
    const when = new Date(seen.savedAtMs).toISOString()
    err.write(
      `twill: ${error.message}\ntwill: this is what the agent saw last, saved at ${when} in ${cacheFile}\n`,
    )
    return seen.view
  }
}

/** Undefined where there is no such file, or none of this store: the store's own trouble is the better answer then. */
async function lastSeen(
  options: StoreOptions,
  cacheFile: string,
): Promise<{ readonly view: StoreView; readonly savedAtMs: number } | undefined> {
  // With Kubernetes the network config is not in the store, and the agent itself answers from what it saw.
  if (options.kind !== 'etcd') return undefined
  const scope = `etcd ${options.prefix}`
  const cache = new LeaseCache({ file: cacheFile, scope, readNotes: notes => notes, saveMs: 0, log: noLog })
  const cached = await cache.load()
  if (cached?.networkConfig === undefined) return undefined
  const table = new Map(cached.leases.map(lease => [lease.node, lease]))
  const network = parseNetworkConfig(cached.networkConfig)
  const leases = { table, changed: new Set(table.keys()), problems: [] }
  return { view: { network, leases }, savedAtMs: cached.savedAtMs }
}

/** What is wrong with the file matters less than what is wrong with the store. */
const noLog: Log = { trace: () => {}, debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
