import { ExpectedError, messageOf } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'
import type { LeaseTableChange } from '../../lease/lease.ts'
import type { StoreOptions } from '../../lease/options.ts'
import { openStore } from '../../lease/registry.ts'
import type { LeaseStore, StoreHealth } from '../../lease/store.ts'
import type { StoreView } from '../diagnose/subnet_map.ts'

/** The store did not answer in time. The message says what it was asked for and its trouble. */
export class StoreUnreachableError extends ExpectedError {
  override name = 'StoreUnreachableError'
}

/** What a command opens, asks and lets go of. */
interface Askable {
  health(): StoreHealth
  close(): Promise<void>
}

/** Reads network config and leases once, from the endpoint that answers first. Throws as askStore; NetworkConfigError. */
export async function readStore(options: StoreOptions, timeoutMs: number): Promise<StoreView> {
  const read = (one: StoreOptions, stop: AbortSignal) =>
    askStore(
      log => openStore(one, log),
      timeoutMs,
      async (store, says, signal) => {
        says('read the network config')
        const network = await store.networkConfig(signal, { onInvalid: 'reject' })
        says('read the leases')
        return { network, leases: await firstChange(store, signal) }
      },
      stop,
    )
  return await firstOf(endpointsOf(options), read)
}

/** The store with the endpoint alone that answers first: what writes must not be asked of several. Throws as askStore. */
export async function answering<T extends StoreOptions>(options: T, timeoutMs: number): Promise<T> {
  const choices = endpointsOf(options)
  if (choices.length < 2) return options
  return await firstOf(choices, async (one, stop) => {
    await askStore(
      log => openStore(one, log),
      timeoutMs,
      async (store, says, signal) => {
        says('read the network config')
        await store.networkConfig(signal, { onInvalid: 'reject' })
      },
      stop,
    )
    return one
  })
}

/**
 * Opens a store for one question, which `says` names, and lets go of it. Throws StoreUnreachableError after `timeoutMs`, or at
 * once for what no patience mends.
 */
export async function askStore<S extends Askable, T>(
  open: (log: Log) => Promise<S>,
  timeoutMs: number,
  question: (store: S, says: (act: string) => void, signal: AbortSignal) => Promise<T>,
  stop?: AbortSignal,
): Promise<T> {
  const timeout = AbortSignal.timeout(timeoutMs)
  const hopeless = new AbortController()
  const words = new LastWords(() => hopeless.abort())
  const store = await open(words)
  const signal = AbortSignal.any([timeout, hopeless.signal, ...(stop === undefined ? [] : [stop])])
  let act = 'open the store'
  const says = (what: string) => {
    act = what
  }
  try {
    return await question(store, says, signal)
  } catch (cause) {
    if (!signal.aborted) throw cause
    const trouble = words.last ?? store.health().trouble ?? 'the store did not answer'
    const within = hopeless.signal.aborted ? '' : ` within ${timeoutMs / 1000} s`
    throw new StoreUnreachableError(`Cannot ${act}${within}: ${trouble}`, { cause })
  } finally {
    await store.close()
  }
}

/** The first that succeeds; the others are stopped then. Where none does, one error with the reason of each. */
async function firstOf<S extends StoreOptions, T>(
  choices: readonly S[],
  ask: (one: S, stop: AbortSignal) => Promise<T>,
): Promise<T> {
  const stop = new AbortController()
  try {
    return await Promise.any(choices.map(one => ask(one, stop.signal)))
  } catch (error) {
    const causes: readonly unknown[] = error instanceof AggregateError ? error.errors : [error]
    // A network config that is wrong, say, is so at each endpoint.
    const answer = causes.find(cause => !(cause instanceof StoreUnreachableError))
    if (answer !== undefined || causes.length === 1) throw answer ?? causes[0]
    const reasons = causes.map(cause => messageOf(cause).replace(/^Cannot [^:]*: /, ''))
    throw new StoreUnreachableError(`No endpoint answers: ${reasons.join('; ')}`, { cause: error })
  } finally {
    stop.abort()
  }
}

/** One store an endpoint. */
function endpointsOf<T extends StoreOptions>(options: T): readonly T[] {
  if (options.kind !== 'etcd') return [options]
  return options.endpoints.map(endpoint => ({ ...options, endpoints: [endpoint] }))
}

async function firstChange(store: LeaseStore, signal: AbortSignal): Promise<LeaseTableChange> {
  for await (const change of store.watch(signal)) return change
  throw new Error('the store ended its watch without a first table')
}

/** Trouble that lasts longer than any patience: it needs an operator, or nothing listens there. */
const lasting =
  /refused|ENOTFOUND|getaddrinfo|name resolution|certificate|TLS|SSL|authentication|permission denied|user name is empty|unauthorized|forbidden|\b40[13]\b/i

/** A store that waits logs what for: that is what to tell an operator who waited in vain. */
class LastWords implements Log {
  last: string | undefined
  readonly #onLasting: () => void

  constructor(onLasting: () => void) {
    this.#onLasting = onLasting
  }

  trace(): void {}

  debug(): void {}

  info(): void {}

  warn(fields: object, message: string): void {
    this.#remember(fields, message)
  }

  error(fields: object, message: string): void {
    this.#remember(fields, message)
  }

  #remember(fields: object, message: string): void {
    const { error, reason } = fields as { error?: unknown; reason?: unknown }
    this.last = typeof reason === 'string' ? reason : message
    if (error instanceof Error) this.last = `${message}: ${error.message}`
    if (lasting.test(this.last)) this.#onLasting()
  }
}
