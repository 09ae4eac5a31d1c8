import { setTimeout as sleep } from 'node:timers/promises'
import { memoryOf } from '../support/memory.ts'
import { BenchBed, cpuMsOf } from './bed.ts'
import type { Contender } from './contender.ts'
import { storedLeases } from './peers.ts'
import type { Row } from './row.ts'

const SETTLE_MS = 3_000
/** V8 gives up what it does not need some 25 s after the heap has last grown. */
const REST_MS = 40_000
const IDLE_MS = 120_000
/** Joins and leaves of so many peers at a time. */
const WAVE = 500

/** d: memory with so many peers and after so many events, and what an agent does when there is nothing to do. */
export async function* memory(contender: Contender): AsyncGenerator<Row> {
  await using bed = await BenchBed.create()
  const bare = await bareNode(bed)
  const measured: { peers: number; anonymous: number }[] = []
  for (const peers of [10, 1_000, 5_000, 10_000]) {
    const known = measured.at(-1)?.peers ?? 0
    await bed.put(storedLeases(known, peers))
    const agent = await bed.startContender(contender, peers)
    await sleep(REST_MS)
    const size = memoryOf(agent.pid)
    yield* sizes(`${peers.toLocaleString('en-US')} peers`, size, bare, targets[peers])
    measured.push({ peers, anonymous: size.anonymous })
    if (peers === 5_000) yield await idleCpu(agent.pid)
    await agent.stop()
  }
  yield* growth(measured)
  await bed.clear()
  yield* underEvents(bed, contender)
}

const targets: Readonly<Record<number, Omit<Size, 'peak'>>> = {
  10: { rss: 54, anonymous: 14 },
  5000: { rss: 66, anonymous: 25 },
}

/** From the fewest peers to the most. */
function* growth(measured: readonly { peers: number; anonymous: number }[]): Iterable<Row> {
  const [least, most] = [measured[0], measured.at(-1)]
  if (least === undefined || most === undefined) return
  const value = ((most.anonymous - least.anonymous) * 1024) / (most.peers - least.peers)
  yield { name: 'd  growth a peer: anonymous', value, unit: 'KB', target: 1.5 }
}

async function* underEvents(bed: BenchBed, contender: Contender): AsyncGenerator<Row> {
  await bed.put(storedLeases(0, 5_000))
  const agent = await bed.startContender(contender, 5_000)
  await sleep(SETTLE_MS)
  await events(bed, 2_000)
  const before = memoryOf(agent.pid)
  await events(bed, 20_000)
  const after = memoryOf(agent.pid)
  const row = (what: string, part: keyof typeof after): Row => {
    const [value, reference] = [after[part], before[part]]
    return { name: `d  after 20,000 events: ${what}`, value, unit: 'MB', reference, ratio: value / reference }
  }
  yield { ...row('RSS', 'rss'), target: 1.05, note: 'reference: after the first 2,000' }
  yield row('anonymous', 'anonymous')
  await agent.stop()
}

/** Begins 80 s after the start: the first passes and the collections of what the start left are over. */
async function idleCpu(pid: number): Promise<Row> {
  await sleep(REST_MS)
  const busyMs = cpuMsOf(pid)
  await sleep(IDLE_MS)
  const percent = ((cpuMsOf(pid) - busyMs) / IDLE_MS) * 100
  return { name: 'd  CPU with children, 5,000 peers, 120 s idle', value: percent, unit: '%', target: 0.1 }
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

function* sizes(when: string, size: Size, bare: Size, target: Omit<Size, 'peak'> | undefined): Iterable<Row> {
  for (const [what, part] of [
    ['RSS', 'rss'],
    ['anonymous', 'anonymous'],
  ] as const) {
    const bound = target === undefined ? {} : { target: target[part] }
    yield { name: `d  ${when}: ${what}`, value: size[part], unit: 'MB', reference: bare[part], ...bound }
  }
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
