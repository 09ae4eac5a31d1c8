import { setTimeout as sleep } from 'node:timers/promises'
import { Gateway } from './gateway.ts'
import type { Stage } from './stage.ts'

const EVERY_MS = 200
/** An idle machine answers within 20 ms. The agents' own time limits in this run's scale begin at 1 s. */
const SLOW_MS = 1_000

/**
 * Records when this machine is too slow for any promise about time: a client that has none of the code under test lists the
 * subnets again and again, in the process of the agents.
 */
export async function watchMachine(stage: Stage, signal: AbortSignal): Promise<void> {
  const gateway = new Gateway(() => stage.cluster.endpoints)
  while (!signal.aborted) {
    await sleep(EVERY_MS, undefined, { signal }).catch(() => {})
    const askedAt = performance.now()
    await gateway.list(stage.folder).catch(() => {})
    const at = performance.now()
    if (at - askedAt > SLOW_MS) stage.record({ what: 'slow', at, ms: at - askedAt })
  }
}
