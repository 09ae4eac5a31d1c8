import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { memoryOf } from '../support/memory.ts'
import { until } from '../support/until.ts'
import { BenchBed } from './bed.ts'
import { Observer } from './observer.ts'
import { madeUpPeer, storedLease, storedLeases } from './peers.ts'
import type { Row } from './row.ts'
import { percentile } from './statistics.ts'

const PEERS = 1_000
const PER_SECOND = 2_000
const DURATION_MS = 60_000
/** Between two good joins. */
const JOIN_EACH_MS = 500

/** l: hostile changes among 1,000 leases: what they cost the agent, and what they do to a good peer that joins meanwhile. */
export async function* flood(): AsyncGenerator<Row> {
  await using bed = await BenchBed.create()
  await bed.put(storedLeases(0, PEERS))
  const agent = await bed.startAgent()
  await using observer = await Observer.start(bed.host.netns)
  const linesBefore = agent.process.text().split('\n').length
  const { pid } = agent.process
  let [most, health, isOver] = [0, 0, false]
  const flooded = bed.store.call('flood', PER_SECOND, DURATION_MS).finally(() => {
    isOver = true
  })
  const joins: number[] = []
  const ownJoins: number[] = []
  const waitedBefore = waitedMs(pid)
  const startedMs = performance.now()
  for (let n = PEERS; !isOver; n++) {
    const { subnet } = madeUpPeer(n)
    const from = observer.mark
    const waited = waitedMs(pid)
    // From the good peer's write to the route: etcd's own share under the same load is in it.
    const { answeredMs } = await bed.store.call('time', storedLease(n), false)
    const { atMs } = await observer.sees(new RegExp(`^${subnet} via`), from, 60_000)
    const tookMs = Math.max(0, atMs - answeredMs)
    joins.push(tookMs)
    ownJoins.push(Math.max(0, tookMs - (waitedMs(pid) - waited)))
    most = Math.max(most, memoryOf(pid).rss)
    if ((await bed.host.httpGet(8081, '/healthz'))?.status !== 200) health += 1
    await sleep(JOIN_EACH_MS)
  }
  const made = await flooded
  const waits = (waitedMs(pid) - waitedBefore) / (performance.now() - startedMs)
  await sleep(15_000)
  const lines = agent.process.text().split('\n').length - linesBefore
  const note = `${made.toLocaleString('en-US')} changes were made`
  yield { name: 'l  RSS at most', value: most, unit: 'MB', target: 110, note }
  yield { name: 'l  log lines', value: lines, unit: '', target: 200 }
  yield {
    name: 'l  a good join, p99',
    value: percentile(joins, 99),
    unit: 'ms',
    target: 50,
    note: `median ${percentile(joins, 50).toFixed(1)} ms`,
  }
  yield {
    name: 'l  a good join, p99 without waits for a CPU',
    value: percentile(ownJoins, 99),
    unit: 'ms',
    note: `the agent waited ${(100 * waits).toFixed(0)} % of the time`,
  }
  yield { name: 'l  /healthz failed', value: health, unit: '', target: 0 }
  await agent.stop()
  const again = await bed.startAgent()
  await until(
    'the good peers to be programmed',
    async () => (await bed.host.routes()).filter(line => /^10\.[1-9]\./.test(line)).length >= PEERS,
  )
  yield { name: 'l  RSS after a restart', value: memoryOf(again.process.pid).rss, unit: 'MB', target: 110 }
  await again.stop()
}

/** How long the main thread was ready and had no CPU: the second field of Documentation/scheduler/sched-stats.rst's schedstat. */
function waitedMs(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[1]) / 1e6
}
