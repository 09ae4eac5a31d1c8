import { messageOf } from '../../../lease/common/errors.ts'
import { type Log, silentLog } from '../../../lease/common/log.ts'
import type { LeaseTableChange } from '../../../lease/lease.ts'
import type { NetworkConfig } from '../../../lease/network_config/network_config.ts'
import type { StoreOptions } from '../../../lease/options.ts'
import { openStore } from '../../../lease/registry.ts'
import type { LeaseStore, StoreHealth } from '../../../lease/store.ts'
import { leaseTimesOf } from '../../inspect/lease_times.ts'
import type { StoreView } from '../../map/subnet_map.ts'
import { StoreUnreachableError } from './store_unreachable.ts'

interface Askable {
  readonly endpoints?: readonly string[]
  health(): StoreHealth
  close(): Promise<void>
}

/** Reads the store once, and the leases' end times unless there are more than `mostTimes`. */
export async function readStore(
  options: StoreOptions,
  timeoutMs: number,
  mostTimes: number,
): Promise<StoreView> {
  const question: Question<LeaseStore, StoreView> = async (store, says, signal) => {
    const network = await readNetwork(store, says, signal)
    says('read the leases')
    const leases = await firstChange(store, signal)
    const times = leases.table.size > mostTimes ? new Map() : await leaseTimesOf(store, signal, timeoutMs)
    return { network, leases, times }
  }
  return await firstOf(endpointsOf(options), (one, stop) =>
    askStore(log => openStore(one, log), timeoutMs, question, stop),
  )
}

const readNetwork: Question<LeaseStore, NetworkConfig> = (store, says, signal) => {
  says('read the network config')
  return store.networkConfig(signal, { onInvalid: 'reject' })
}

/** The store with only the first endpoint to answer: a write must not go to several. Throws as askStore. */
export async function answering<T extends StoreOptions>(options: T, timeoutMs: number): Promise<T> {
  const choices = endpointsOf(options)
  if (choices.length < 2) return options
  return await firstOf(choices, async (one, stop) => {
    await askStore(log => openStore(one, log), timeoutMs, readNetwork, stop)
    return one
  })
}

/** One request to a store, which `says` names. */
type Question<S, T> = (store: S, says: (act: string) => void, signal: AbortSignal) => Promise<T>

/** `says` names the request. Throws StoreUnreachableError, at once where waiting cannot help. */
export async function askStore<S extends Askable, T>(
  open: (log: Log) => Promise<S>,
  timeoutMs: number,
  question: Question<S, T>,
  stop?: AbortSignal,
): Promise<T> {
  const timeout = AbortSignal.timeout(timeoutMs)
  const hopeless = new AbortController()
  const tail: { last?: string } = {}
  const store = await open(tailLog(tail, () => hopeless.abort()))
  const signal = AbortSignal.any([timeout, hopeless.signal, ...(stop === undefined ? [] : [stop])])
  let act = 'open the store'
  const says = (what: string) => {
    act = what
  }
  try {
    return await question(store, says, signal)
  } catch (cause) {
    if (!signal.aborted) throw cause
    const silent = `${store.endpoints?.join(', ') ?? 'the store'} did not answer`
    const trouble = tail.last ?? store.health().trouble ?? silent
    const within = hopeless.signal.aborted ? '' : ` within ${timeoutMs / 1000} s`
    throw new StoreUnreachableError(`Cannot ${act}${within}: ${trouble}`, { cause })
  } finally {
    await store.close()
  }
}

/** Resolves to the first success, and stops the others. Of failures, throws one error with all reasons. */
async function firstOf<S extends StoreOptions, T>(
  choices: readonly S[],
  ask: (one: S, stop: AbortSignal) => Promise<T>,
): Promise<T> {
  const stop = new AbortController()
  try {
    return await Promise.any(choices.map(one => ask(one, stop.signal)))
  } catch (error) {
    const causes: readonly unknown[] = error instanceof AggregateError ? error.errors : [error]
    // An invalid network config, for example, is the same at each endpoint.
    const answer = causes.find(cause => !(cause instanceof StoreUnreachableError))
    if (answer !== undefined || causes.length === 1) throw answer ?? causes[0]
    const reasons = causes.map(cause => messageOf(cause).replace(/^Cannot [^:]*: /, ''))
    throw new StoreUnreachableError(`No endpoint answers: ${reasons.join('; ')}`, { cause: error })
  } finally {
    stop.abort()
  }
}

function endpointsOf<T extends StoreOptions>(options: T): readonly T[] {
  if (options.kind !== 'etcd') return [options]
  return options.endpoints.map(endpoint => ({ ...options, endpoints: [endpoint] }))
}

async function firstChange(store: LeaseStore, signal: AbortSignal): Promise<LeaseTableChange> {
  for await (const change of store.watch(signal)) return change
  throw new Error('the store ended its watch without a first table')
}

/** Errors that waiting cannot fix: they need an operator, or nothing listens there. */
const lasting =
  /refused|ENOTFOUND|getaddrinfo|cannot be resolved|ENETUNREACH|ENOENT|EISDIR|has no network config|certificate|TLS|SSL|authentication|permission denied|user name is empty|unauthorized|forbidden|\b40[13]\b/i

/** Keeps the last reason that a waiting store logs: it tells the operator why the wait failed. */
function tailLog(tail: { last?: string }, onLasting: () => void): Log {
  const remember = (fields: { error?: unknown; reason?: unknown }, message: string) => {
    const { error, reason } = fields
    // Without the activity: the error that contains this text names it.
    const text = message.replace(/^Cannot [^:]*, trying again: |, waiting for it(?=:)/, '')
    tail.last = typeof reason === 'string' ? reason : text
    if (error instanceof Error) tail.last = `${text}: ${error.message}`
    if (lasting.test(tail.last)) onLasting()
  }
  // At debug: a failure that has not lasted long enough for a warning.
  const debug = (fields: object, message: string) => {
    if (message.includes(', trying again: ')) remember(fields, message)
  }
  return { ...silentLog, debug, warn: remember, error: remember }
}
