import type { ProgrammingJob } from './jobs/programming.ts'
import type { Row } from './row.ts'
import { median } from './statistics.ts'
import { Worker } from './worker.ts'

const PEERS = 5_000
const TIMES = 30

/** e: one look at all of the kernel with nothing to do, against iproute2 that lists the same tables. */
export async function* pass(): AsyncGenerator<Row> {
  await using worker = new Worker<ProgrammingJob>('programming', {
    nodeFlags: ['--expose-gc', '--max-semi-space-size=128', '--min-semi-space-size=128'],
  })
  await worker.call('prepare')
  await worker.call('byTwill', PEERS)
  const listings = await worker.call('listings', 10)
  // The first ones run before the code is compiled, as an agent's do in its first minutes.
  const passes = await worker.call('idlePasses', PEERS, TIMES)
  const [cold, warm] = [passes.slice(0, 3), passes.slice(-10)]
  const ms = (some: typeof passes) => median(some.map(({ durationMs }) => durationMs))
  const reference = median(listings)
  const target = 60
  yield { name: 'e  full pass, 5,000 peers: first three', value: ms(cold), unit: 'ms', reference, target }
  yield { name: 'e  full pass, 5,000 peers: warm', value: ms(warm), unit: 'ms', reference, target }
  const megabytes = median(warm.map(({ allocatedBytes }) => allocatedBytes)) / 2 ** 20
  yield { name: 'e  full pass, 5,000 peers: allocates', value: megabytes, unit: 'MB' }
}
