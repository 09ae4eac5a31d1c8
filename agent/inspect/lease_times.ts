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
  const stop = AbortSignal.any([signal, AbortSignal.timeout(patienceMs)])
  try {
    return (await store?.leaseTimes?.(stop)) ?? new Map()
  } catch (error) {
    if (isUnexpected(error) && !stop.aborted) throw error
    return new Map()
  }
}
