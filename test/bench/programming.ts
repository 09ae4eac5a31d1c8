import type { Programming, ProgrammingJob } from './jobs/programming.ts'
import type { Row } from './row.ts'
import { median } from './statistics.ts'
import { Worker } from './worker.ts'

const RUNS = 5

/** a: FDB, neighbor and route of each peer, by our kernel layer and by iproute2's batch mode, turn by turn. */
export async function* programming(): AsyncGenerator<Row> {
  await using worker = new Worker<ProgrammingJob>('programming')
  await worker.call('prepare')
  await worker.call('byTwill', 1_000)
  for (const peers of [1_000, 5_000, 10_000]) {
    const ours: Programming[] = []
    const theirs: Programming[] = []
    for (let i = 0; i < RUNS; i++) {
      ours.push(await worker.call('byTwill', peers))
      theirs.push(await worker.call('byIproute2', peers))
    }
    const compare = (name: string, part: keyof Programming, target?: number): Row => {
      const [value, reference] = [ours, theirs].map(runs => median(runs.map(run => run[part])))
      const row = {
        name: `a  ${peers.toLocaleString('en-US')} peers: ${name}`,
        value: value ?? 0,
        unit: 'ms',
        reference: reference ?? 0,
      }
      return { ...row, ratio: row.value / row.reference, ...(target === undefined ? {} : { target }) }
    }
    yield compare('FDB and neighbors', 'fdbAndNeighborsMs')
    // fib_info_hash does not look at the gateway: all routes on one device are one chain, which each new one walks.
    yield compare('routes', 'routesMs')
    yield compare('all', 'totalMs', peers === 5_000 ? 1 : undefined)
  }
}
