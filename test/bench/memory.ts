import { setTimeout as sleep } from 'node:timers/promises'
import type { Agent } from '../support/agent.ts'
import { BenchBed, cpuMsOf, memoryOf } from './bed.ts'
import { storedLeases } from './peers.ts'
import type { Row } from './row.ts'

const SETTLE_MS = 3_000
const IDLE_MS = 60_000
/** Joins and leaves of so many peers at a time. */
const WAVE = 500

/** d: memory with so many peers and after so many events, and what an agent does when there is nothing to do. */
export async function* memory(): AsyncGenerator<Row> {
  await using bed = await BenchBed.create()
  const bare = await bareNode(bed)
  let known = 0
  for (const peers of [0, 1_000, 5_000, 10_000]) {
    await bed.put(storedLeases(known, peers))
    known = peers
    const agent = await bed.startAgent()
    await sleep(SETTLE_MS)
    yield* sizes(`${peers.toLocaleString('en-US')} peers`, agent, bare, targets[peers])
    await agent.stop()
  }
  await bed.clear()
  yield* underEvents(bed)
}

const targets: Readonly<Record<number, number>> = { 0: 64, 5000: 80 }

async function* underEvents(bed: BenchBed): AsyncGenerator<Row> {
  await bed.put(storedLeases(0, 5_000))
  const agent = await bed.startAgent()
  await sleep(SETTLE_MS)
  await events(bed, 2_000)
  const before = memoryOf(agent.process.pid)
  await events(bed, 20_000)
  const after = memoryOf(agent.process.pid)
  const row = (what: string, part: keyof typeof after): Row => {
    const [value, reference] = [after[part], before[part]]
    return { name: `d  after 20,000 events: ${what}`, value, unit: 'MB', reference, ratio: value / reference }
  }
  yield { ...row('RSS', 'rss'), target: 1.05, note: 'reference: after the first 2,000' }
  yield row('anonymous', 'anonymous')
  await sleep(SETTLE_MS)
  const busyMs = cpuMsOf(agent.process.pid)
  await sleep(IDLE_MS)
  const percent = ((cpuMsOf(agent.process.pid) - busyMs) / IDLE_MS) * 100
  yield { name: 'd  CPU, 5,000 peers, 60 s idle', value: percent, unit: '%', target: 0.2 }
  await agent.stop()
}

/** Peers that come and go beside the 5,000. */
async function events(bed: BenchBed, count: number): Promise<void> {
  const wave = storedLeases(20_000, 20_000 + WAVE)
  for (let done = 0; done < count; done += 2 * WAVE) {
    await bed.put(wave)
    await bed.store.call(
      'remove',
      wave.map(({ key }) => key),
    )
  }
  await sleep(SETTLE_MS)
}

type Size = ReturnType<typeof memoryOf>

function* sizes(when: string, agent: Agent, bare: Size, target: number | undefined): Iterable<Row> {
  const { rss, anonymous } = memoryOf(agent.process.pid)
  const bound = target === undefined ? {} : { target }
  yield { name: `d  ${when}: RSS`, value: rss, unit: 'MB', reference: bare.rss, ...bound }
  yield { name: `d  ${when}: anonymous`, value: anonymous, unit: 'MB', reference: bare.anonymous }
}

/** The same node with nothing to run. */
async function bareNode(bed: BenchBed): Promise<Size> {
  const node = bed.host.spawn([process.execPath, '--eval', 'setInterval(() => {}, 1e9)'], {
    name: 'bare-node',
  })
  await sleep(SETTLE_MS)
  const size = memoryOf(node.pid)
  await node.stop('SIGKILL')
  return size
}
