import { setTimeout as sleep } from 'node:timers/promises'
import type { Agent } from '../support/agent.ts'
import type { Host } from '../support/host.ts'
import { memoryOf } from '../support/memory.ts'
import { EndedError } from '../support/process.ts'
import { BenchBed } from './bed.ts'
import { entryDrifts, linkDrifts, ownVtep } from './drifts.ts'
import { storedLeases } from './peers.ts'
import type { Row } from './row.ts'
import { median } from './statistics.ts'

const PEERS = 1_000
/** Peers that come or go in one step. */
const WAVE = 20
const STEP_MS = 1_000
/** A device is damaged in each so many steps. */
const DEVICE_STEPS = 4
const SPANS = 8

/** RSS samples of one agent, in MB, by span of the run. */
type Spans = readonly number[][]

/**
 * j: two agents follow the same peers that come and go, for so long; on the host of one of them another program deletes
 * entries all the time and damages the device every few seconds. Memory must not grow with the repairs.
 */
export async function* soak(minutes: number): AsyncGenerator<Row> {
  await using bed = await BenchBed.create({ hosts: 2 })
  await bed.put(storedLeases(0, PEERS))
  const agents = await Promise.all(bed.hosts.map(host => bed.startAgent([], host)))
  const spans: Spans[] = agents.map(() => Array.from({ length: SPANS }, () => []))
  const [, drifting] = bed.hosts
  if (drifting === undefined) throw new Error('Two hosts are needed')
  const damage = await damager(drifting)
  const begin = performance.now()
  const spanMs = (minutes * 60_000) / SPANS
  for (let span = 0; span < SPANS; span++) {
    for (let step = 0; performance.now() < begin + (span + 1) * spanMs; step++) {
      const next = sleep(STEP_MS)
      await Promise.all([churn(bed, step), damage(step)])
      for (const [i, { process }] of agents.entries()) {
        if (process.exit !== undefined) throw new EndedError(process)
        spans[i]?.[span]?.push(memoryOf(process.pid).rss)
      }
      await next
    }
    yield* sizes(spans, span, ((span + 1) * spanMs) / 60_000)
  }
  yield* growth(spans)
  await Promise.all(agents.map((agent: Agent) => agent.stop()))
}

async function churn(bed: BenchBed, step: number): Promise<void> {
  const wave = storedLeases(20_000 + (step % 2 === 0 ? 0 : WAVE), 20_000 + (step % 2 === 0 ? WAVE : 2 * WAVE))
  if (step % 4 < 2) await bed.put(wave)
  else
    await bed.store.call(
      'remove',
      wave.map(({ key }) => key),
    )
}

/** What is gone already may fail to be deleted: nothing is waited for. */
async function damager(host: Host): Promise<(step: number) => Promise<void>> {
  const own = await ownVtep(host, 'ipv4')
  const entries = entryDrifts('ipv4', own)
  const device = ['ip', 'link', 'delete', own.device]
  const links = [...linkDrifts(own).map(kind => (n: number) => kind.at(n).act), () => device]
  return async step => {
    const acts = entries.map((kind, i) => kind.at((step * entries.length + i) % PEERS).act)
    const link = links[(step / DEVICE_STEPS) % links.length]
    if (link !== undefined) acts.push(link(step % 100))
    for (const act of acts) await host.exec(act).catch(() => {})
  }
}

const names = ['churn', 'churn and drift'] as const

function* sizes(spans: readonly Spans[], span: number, minute: number): Iterable<Row> {
  for (const [i, name] of names.entries())
    yield { name: `j  ${name}, ${minute.toFixed(1)} min: RSS`, value: rss(spans, i, span), unit: 'MB' }
}

/** In the first half V8's heap and the compiled code grow to what this load needs; in the second nothing should be added. */
function* growth(spans: readonly Spans[]): Iterable<Row> {
  for (const [i, name] of names.entries()) {
    const [value, reference] = [rss(spans, i, SPANS - 1), rss(spans, i, SPANS / 2 - 1)]
    const note = 'reference: before half the time was over'
    yield {
      name: `j  ${name}: RSS in the end`,
      value,
      unit: 'MB',
      reference,
      ratio: value / reference,
      target: 1.05,
      note,
    }
  }
}

function rss(spans: readonly Spans[], agent: number, span: number): number {
  return median(spans[agent]?.[span] ?? [])
}
