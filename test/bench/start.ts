import { existsSync } from 'node:fs'
import type { Agent, LogLine } from '../support/agent.ts'
import { until } from '../support/until.ts'
import { BenchBed } from './bed.ts'
import type { Contender } from './contender.ts'
import type { ProgrammingJob } from './jobs/programming.ts'
import { Observer } from './observer.ts'
import { storedLeases } from './peers.ts'
import type { Row } from './row.ts'
import { median } from './statistics.ts'
import { wallClock } from './wall_clock.ts'
import { Worker } from './worker.ts'

const PEERS = 5_000
const RUNS = 5
/** As `ip monitor` prints a route to a peer. */
const peerRoute = /^10\.\d+\.\d+\.0\/24 via .* dev flannel\.1/

/** When each step was done: Unix time in ms. */
interface Steps {
  readonly spawned: number
  readonly started: number
  readonly leased: number
  readonly listed: number
  readonly device: number
  readonly programmed: number
}

/** b: from an agent's birth to the last entry in the kernel, against what programming alone takes in the same run. */
export async function* start(): AsyncGenerator<Row> {
  await using worker = new Worker<ProgrammingJob>('programming')
  await worker.call('prepare')
  await using bed = await BenchBed.create()
  await bed.put(storedLeases(0, PEERS))
  const runs: Steps[] = []
  const programming: number[] = []
  for (let i = 0; i < RUNS; i++) {
    programming.push((await worker.call('byTwill', PEERS)).totalMs)
    runs.push(await startOnce(bed))
  }
  const between = (from: keyof Steps, to: keyof Steps) => median(runs.map(run => run[to] - run[from]))
  const row = (name: string, value: number): Row => ({
    name: `b  start, 5,000 leases: ${name}`,
    value,
    unit: 'ms',
  })
  const reference = median(programming)
  yield row('process up, code loaded', between('spawned', 'started'))
  yield row('underlay chosen, lease claimed', between('started', 'leased'))
  yield row('leases listed and turned into entries', between('leased', 'listed'))
  yield row('kernel looked at, device made', between('listed', 'device'))
  yield { ...row('programmed', between('device', 'programmed')), reference }
  yield { ...row('all', between('spawned', 'programmed')), reference, target: reference + 2_000 }
  yield await withoutStore(bed)
}

/** The same of any agent: what can be told from outside. */
export async function* startFromOutside(contender: Contender): AsyncGenerator<Row> {
  await using bed = await BenchBed.create()
  await bed.put(storedLeases(0, PEERS))
  const took: number[] = []
  for (let i = 0; i < RUNS; i++) {
    await using observer = await Observer.start(bed.host.netns)
    const spawned = wallClock()
    const agent = bed.launchContender(contender)
    took.push((await observer.seesTimes(peerRoute, PEERS, 0)).atMs - spawned)
    // Without it and without the device, twilld's next start asks for a second whether another host has its key.
    await until('the subnet file', () => existsSync(bed.host.subnetFile))
    await agent.stop()
    await bed.host.ip(['link delete flannel.1'])
  }
  yield { name: 'b  start, 5,000 leases: all', value: median(took), unit: 'ms' }
}

/** Packets to etcd are dropped: the peers of last time are programmed all the same, and soon. */
async function withoutStore(bed: BenchBed): Promise<Row> {
  const { host } = bed
  await (await bed.startAgent()).stop()
  const took: number[] = []
  for (let i = 0; i < RUNS; i++) {
    await host.ip(['link delete flannel.1'])
    await using observer = await Observer.start(host.netns)
    await host.segment.cut(host)
    const agent = host.launchAgent({ endpoints: bed.etcd.endpoints })
    const programmed = (await observer.seesTimes(peerRoute, PEERS, 0)).atMs
    took.push(programmed - timeOf(agent, /^twilld starts/))
    await host.segment.heal()
    await agent.ready()
    await agent.stop()
  }
  const name = 'b  start, 5,000 leases, etcd black-holed: programmed'
  return { name, value: median(took), unit: 'ms', target: 1_000, note: "from the agent's first line" }
}

async function startOnce(bed: BenchBed): Promise<Steps> {
  const { host } = bed
  await using observer = await Observer.start(host.netns)
  const spawned = wallClock()
  const agent = host.launchAgent({ endpoints: bed.etcd.endpoints })
  const programmed = (await observer.seesTimes(peerRoute, PEERS, 0)).atMs
  await agent.ready()
  const [device] = observer.all(/^\d+: flannel\.1/)
  const at = (message: RegExp) => timeOf(agent, message)
  const steps = {
    spawned,
    started: at(/^twilld starts/),
    leased: at(/has its lease/),
    listed: at(/^peers changed/),
    device: device?.atMs ?? Number.NaN,
    programmed,
  }
  await agent.stop()
  await host.ip(['link delete flannel.1'])
  return steps
}

function timeOf(agent: Agent, message: RegExp): number {
  const line: LogLine | undefined = agent.log().find(({ msg }) => message.test(msg))
  return new Date(String(line?.time)).getTime()
}
