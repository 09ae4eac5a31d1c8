import { ExpectedError } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'
import type { LeaseTableChange } from '../../lease/lease.ts'
import type { LeaseStore, StoreHealth } from '../../lease/store.ts'
import type { StoreView } from '../diagnose/subnet_map.ts'

/** The store did not answer in time. The message says what it was asked for and its trouble. */
export class StoreUnreachableError extends ExpectedError {
  override name = 'StoreUnreachableError'
}

export type OpenStore = (log: Log) => Promise<LeaseStore>

/** What a command opens, asks and lets go of. */
interface Askable {
  health(): StoreHealth
  close(): Promise<void>
}

/** Reads network config and leases once. Throws as askStore; NetworkConfigError where the config is wrong. */
export function readStore(open: OpenStore, timeoutMs: number): Promise<StoreView> {
  return askStore(open, timeoutMs, async (store, says, signal) => {
    says('read the network config')
    const network = await store.networkConfig(signal, { onInvalid: 'reject' })
    says('read the leases')
    return { network, leases: await firstChange(store, signal) }
  })
}

/** Opens a store for one question, which `says` names, and lets go of it. Throws StoreUnreachableError after `timeoutMs`. */
export async function askStore<S extends Askable, T>(
  open: (log: Log) => Promise<S>,
  timeoutMs: number,
  question: (store: S, says: (act: string) => void, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const timeout = AbortSignal.timeout(timeoutMs)
  const words = new LastWords()
  const store = await open(words)
  let act = 'open the store'
  const says = (what: string) => {
    act = what
  }
  try {
    return await question(store, says, timeout)
  } catch (cause) {
    if (!timeout.aborted) throw cause
    const trouble = store.health().trouble ?? words.last ?? 'the store did not answer'
    const message = `Cannot ${act} within ${timeoutMs / 1000} s: ${trouble}`
    throw new StoreUnreachableError(message, { cause })
  } finally {
    await store.close()
  }
}

async function firstChange(store: LeaseStore, signal: AbortSignal): Promise<LeaseTableChange> {
  for await (const change of store.watch(signal)) return change
  throw new Error('the store ended its watch without a first table')
}

/** A store that waits logs what for: that is what to tell who waited in vain. */
class LastWords implements Log {
  last: string | undefined

  trace(): void {}

  debug(): void {}

  info(fields: object, message: string): void {
    this.#remember(fields, message)
  }

  warn(fields: object, message: string): void {
    this.#remember(fields, message)
  }

  error(fields: object, message: string): void {
    this.#remember(fields, message)
  }

  #remember(fields: object, message: string): void {
    const { error } = fields as { error?: unknown }
    this.last = error instanceof Error ? `${message}: ${error.message}` : message
  }
}
