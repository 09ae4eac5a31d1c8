import { isUnexpected } from '../../lease/common/errors.ts'
import type { LeaseStore, LeaseTimes } from '../../lease/store.ts'

/** A short wait: the rest of the map is ready. */
const PATIENCE_MS = 3_000

/** Lease end times by the store; empty if it has none, or does not answer in time. */
export async function leaseTimesOf(
  store: LeaseStore | undefined,
  signal: AbortSignal,
  patienceMs = PATIENCE_MS,
): Promise<ReadonlyMap<string, LeaseTimes>> {
  const stop = new AbortController()
  const end = () => stop.abort(new Error('the store does not tell when leases end'))
  for (const one of [signal, AbortSignal.timeout(patienceMs)])
    one.addEventListener('abort', end, { once: true })
  try {
    return (await store?.leaseTimes?.(stop.signal)) ?? new Map()
  } catch (error) {
    if (isUnexpected(error) && !stop.signal.aborted) throw error
    return new Map()
  }
}
