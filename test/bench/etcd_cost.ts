import { setTimeout as sleep } from 'node:timers/promises'
import { BenchBed } from './bed.ts'
import type { Counted, LeaseCostJob } from './jobs/lease_cost.ts'
import type { Row } from './row.ts'
import { Worker } from './worker.ts'

/** Of one more agent, beside those that are there. */
const SHORT_LIVED_SECONDS = 6
const WINDOW_MS = 20_000

/** h: what agents cost etcd, counted by etcd. */
export async function* etcdCost(): AsyncGenerator<Row> {
  await using bed = await BenchBed.create()
  let started = 0
  let firstStart: number | undefined

  await using agents = new Worker<LeaseCostJob>('lease_cost', { netns: bed.host.netns })
  await agents.call('open', bed.etcd.endpoint, '/coreos.com/network')
  for (const total of [10, 100, 1_000]) {
    const name = `h  ${total.toLocaleString('en-US')} agents`
    const more = total - 1 - started
    await agents.call('start', more)
    const before = await agents.call('counted')
    await agents.call('start', 1)
    const joined = await agents.call('counted')
    started = total
    const start = calls(before, joined)
    firstStart ??= start
    yield {
      name: `${name}: one more starts`,
      value: start,
      unit: 'RPCs',
      reference: firstStart,
      note: named(before, joined),
    }
    yield { name: `${name}: one more starts, sent`, value: kilobytes(before, joined), unit: 'kB' }
    yield {
      name: `${name}: and for each other agent`,
      value: (1_000 * kilobytes(before, joined)) / total,
      unit: 'B',
    }
  }
  await agents.call('startShortLived', SHORT_LIVED_SECONDS)
  const before = await agents.call('counted')
  await sleep(WINDOW_MS)
  const after = await agents.call('counted')
  const renewals = (after.calls.LeaseGrant ?? 0) - (before.calls.LeaseGrant ?? 0)
  const note = named(before, after)
  yield {
    name: 'h  1,000 agents: one renewal',
    value: calls(before, after) / renewals,
    unit: 'RPCs',
    note: `${renewals} renewals: ${note}`,
  }
  yield { name: 'h  1,000 agents: one renewal, sent', value: kilobytes(before, after) / renewals, unit: 'kB' }
}

function calls(before: Counted, after: Counted): number {
  return Object.values(difference(before, after)).reduce((sum, count) => sum + count, 0)
}

function kilobytes(before: Counted, after: Counted): number {
  return (after.sentBytes - before.sentBytes) / 1_000
}

function named(before: Counted, after: Counted): string {
  return Object.entries(difference(before, after))
    .map(([method, count]) => `${method} ${count}`)
    .join(', ')
}

function difference(before: Counted, after: Counted): Record<string, number> {
  const changed = Object.entries(after.calls).map(
    ([method, count]) => [method, count - (before.calls[method] ?? 0)] as const,
  )
  return Object.fromEntries(changed.filter(([, count]) => count > 0))
}
