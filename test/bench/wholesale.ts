import { setTimeout as sleep } from 'node:timers/promises'
import { BenchBed } from './bed.ts'
import { ownVtep } from './drifts.ts'
import { Flow } from './flow.ts'
import type { ProgrammingJob } from './jobs/programming.ts'
import { Observer } from './observer.ts'
import { madeUpPeer, storedLeases } from './peers.ts'
import type { Row } from './row.ts'
import { median } from './statistics.ts'
import { Worker } from './worker.ts'

const PEERS = 5_000
const RUNS = 3
/** See drift.ts. */
const REST_MS = 12_000
const peerRoute = /^10\.\d+\.\d+\.0\/24 via .* dev flannel\.1/
const deletedEntry = /^Deleted \d\S* (via \S+ )?dev flannel\.1/
const deletedLink = /^Deleted \d+: flannel\.1: /

interface Damage {
  /** From the first thing that went to the last entry that came back. */
  readonly backMs: number
  /** From the first thing that went to the last. */
  readonly damageMs: number
  readonly lost: number
}

/** f, continued: everything at once, among 5,000 peers, against programming that many in the same run. */
export async function* wholesale(): AsyncGenerator<Row> {
  await using worker = new Worker<ProgrammingJob>('programming')
  await worker.call('prepare')
  await using bed = await BenchBed.create({ hosts: 2 })
  await bed.put(storedLeases(0, PEERS))
  await Promise.all(bed.hosts.map(host => bed.startAgent([], host)))
  await using observer = await Observer.start(bed.host.netns)
  const [pod, other] = await Promise.all(bed.hosts.map(host => host.pod()))
  if (pod === undefined || other === undefined) throw new Error('Two hosts are needed')
  await using flow = await Flow.between(pod, other)
  const flushes: Damage[] = []
  const deletions: Damage[] = []
  const programming: number[] = []
  for (let i = 0; i < RUNS; i++) {
    programming.push((await worker.call('byTwill', PEERS)).totalMs)
    await sleep(REST_MS)
    flushes.push(await damage(observer, flow, deletedEntry, () => flushAll(bed)))
    await sleep(REST_MS)
    deletions.push(await damage(observer, flow, deletedLink, () => bed.host.ip(['link delete flannel.1'])))
  }
  const reference = median(programming)
  yield* rows('all entries deleted', flushes, reference)
  yield* rows('device deleted', deletions, reference, 1.5 * reference + 200)
}

function* rows(what: string, damages: readonly Damage[], reference: number, target?: number): Iterable<Row> {
  const of = (part: keyof Damage) => median(damages.map(damage => damage[part]))
  const name = `f  ${what}, 5,000 peers`
  const note = `deleting took ${Math.round(of('damageMs'))} ms of it`
  yield {
    name: `${name}: all back`,
    value: of('backMs'),
    unit: 'ms',
    reference,
    note,
    ...(target === undefined ? {} : { target }),
  }
  yield { name: `${name}: lost`, value: of('lost'), unit: 'packets', note: 'of 1,000 a second' }
}

/** `going`: a line for each thing that goes. Routes come back last. */
async function damage(
  observer: Observer,
  flow: Flow,
  going: RegExp,
  act: () => Promise<void>,
): Promise<Damage> {
  const from = observer.mark
  let backMs = 0
  let damageMs = 0
  const { lost } = await flow.carry(async () => {
    await act()
    // One more than was made up: the other host.
    const { atMs } = await observer.seesTimes(peerRoute, PEERS + 1, from)
    const gone = observer.all(going, from)
    const [first, last] = [gone[0], gone.at(-1)]
    if (first === undefined || last === undefined) throw new Error(`Nothing was deleted: ${going}`)
    backMs = atMs - first.atMs
    damageMs = last.atMs - first.atMs
  })
  return { backMs, damageMs, lost }
}

/** Each entry once: `ip route flush` would begin again while there are some. */
async function flushAll({ hosts: [host, second] }: BenchBed): Promise<void> {
  if (host === undefined || second === undefined) throw new Error('Two hosts are needed')
  const peers = [...Array.from({ length: PEERS }, (_, i) => madeUpPeer(i)), await ownVtep(second, 'ipv4')]
  await host.bridge(peers.map(({ mac, publicIp }) => `fdb delete ${mac} dev flannel.1 dst ${publicIp}`))
  await host.ip(peers.map(({ gateway }) => `neigh delete ${gateway} dev flannel.1`))
  await host.ip(peers.map(({ subnet }) => `route delete ${subnet}`))
}
