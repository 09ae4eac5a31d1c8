import { setTimeout as sleep } from 'node:timers/promises'
import { Gateway } from './gateway.ts'
import type { Stage } from './stage.ts'

const EVERY_MS = 200
/** An idle machine answers within 20 ms. */
const EXPECTED_MS = 300

/**
 * Records how long this machine keeps a client waiting that has none of the code under test: it lists the subnets again and
 * again, in the process of the agents. What delays that client delays each agent at least as long.
 */
export async function watchMachine(stage: Stage, signal: AbortSignal): Promise<void> {
  const gateway = new Gateway(() => stage.cluster.endpoints)
  while (!signal.aborted) {
    const startedAt = performance.now()
    await sleep(EVERY_MS, undefined, { signal }).catch(() => {})
    await gateway.list(stage.folder).catch(() => {})
    const ms = performance.now() - startedAt - EVERY_MS - EXPECTED_MS
    if (ms > 0) stage.record({ what: 'slow', at: performance.now(), ms })
  }
}
