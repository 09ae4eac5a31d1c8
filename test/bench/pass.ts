import { agentV8Flags } from '../../agent/runtime/v8_flags.ts'
import type { Pass, ProgrammingJob } from './jobs/programming.ts'
import type { Row } from './row.ts'
import { median } from './statistics.ts'
import { Worker } from './worker.ts'

const PEERS = 5_000
const TIMES = 30

/** A young generation that holds all that a pass allocates: nothing is collected while it is counted. */
const COUNTING_FLAGS = ['--max-semi-space-size=128', '--min-semi-space-size=128']

/** e: one look at all of the kernel with nothing to do, against iproute2 that lists the same tables. */
export async function* pass(): AsyncGenerator<Row> {
  const timed = await passes([], agentV8Flags)
  const reference = median(timed.listings)
  const row = (name: string, some: readonly Pass[]): Row => {
    const value = median(some.map(({ durationMs }) => durationMs))
    return { name: `e  full pass, 5,000 peers: ${name}`, value, unit: 'ms', reference, target: 60 }
  }
  yield row('first three', timed.passes.slice(0, 3))
  yield row('later', timed.passes.slice(-20))
  const counted = await passes(COUNTING_FLAGS, [])
  const bytes = median(counted.passes.map(({ allocatedBytes }) => allocatedBytes))
  yield { name: 'e  full pass, 5,000 peers: allocates', value: bytes / 2 ** 20, unit: 'MB' }
}

async function passes(
  nodeFlags: readonly string[],
  v8Flags: readonly string[],
): Promise<{ listings: number[]; passes: Pass[] }> {
  await using worker = new Worker<ProgrammingJob>('programming', {
    nodeFlags: ['--expose-gc', ...nodeFlags],
  })
  await worker.call('tune', v8Flags)
  await worker.call('prepare')
  await worker.call('byTwill', PEERS)
  const listings = await worker.call('listings', 10)
  return { listings, passes: await worker.call('idlePasses', PEERS, TIMES) }
}
