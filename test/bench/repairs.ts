import { setTimeout as sleep } from 'node:timers/promises'
import { BenchBed } from './bed.ts'
import { type OwnVtep, ownVtep } from './drifts.ts'
import type { ProgrammingJob, Table } from './jobs/programming.ts'
import { Observer } from './observer.ts'
import { storedLeases } from './peers.ts'
import type { Row } from './row.ts'
import { median, percentile } from './statistics.ts'
import { Worker } from './worker.ts'

const PEERS = 1_000
/** In a row: the last repair must be as quick as the first. */
const TIMES = 20
const PAUSE_MS = 300
const QUIET_MS = 12_000
const route = /^10\.\d+\.\d+\.0\/24 via .* dev flannel\.1/
const neighbor = /^10\.\d+\.\d+\.0 dev flannel\.1 lladdr .* PERMANENT/

interface Kind {
  readonly name: string
  /** `ip` with these words does the damage. */
  act(own: OwnVtep, n: number): string
  /** What the kernel says of the damage, first. */
  readonly gone: RegExp
  /** What comes back last, a line a peer. */
  readonly back: RegExp
  /** What has to be put back. */
  readonly tables: readonly Table[]
}

const kinds: readonly Kind[] = [
  {
    name: 'link down',
    act: ({ device }) => `link set ${device} down`,
    gone: /^\d+: flannel\.1: <BROADCAST,MULTICAST> /,
    back: route,
    tables: ['neighbors', 'routes'],
  },
  {
    name: 'address deleted',
    act: ({ device, gateway }) => `address delete ${gateway}/32 dev ${device}`,
    gone: /^Deleted \d+: flannel\.1 +inet /,
    back: route,
    tables: ['neighbors', 'routes'],
  },
  {
    name: 'MAC changed',
    act: ({ device }, n) => `link set ${device} address 02:99:99:99:99:${(n + 16).toString(16)}`,
    gone: /^\d+: flannel\.1: .*ether 02:99:99:99:99/,
    back: neighbor,
    tables: ['neighbors'],
  },
  {
    name: 'device deleted',
    act: ({ device }) => `link delete ${device}`,
    gone: /^Deleted \d+: flannel\.1: /,
    back: route,
    tables: ['fdb', 'neighbors', 'routes'],
  },
]

/** f, continued: a device is damaged again and again among 1,000 peers, against `ip -batch` for the entries that go with it. */
export async function* repairs(): AsyncGenerator<Row> {
  await using worker = new Worker<ProgrammingJob>('programming')
  await worker.call('prepare')
  await using bed = await BenchBed.create()
  await bed.put(storedLeases(0, PEERS))
  await bed.startAgent()
  await using observer = await Observer.start(bed.host.netns)
  const own = await ownVtep(bed.host, 'ipv4')
  for (const kind of kinds) {
    await sleep(QUIET_MS)
    const floor: number[] = []
    for (let i = 0; i < 5; i++) floor.push(await worker.call('batch', PEERS, kind.tables))
    const took: number[] = []
    for (let n = 0; n < TIMES; n++) {
      const from = observer.mark
      await bed.host.ip([kind.act(own, n)])
      const damage = await observer.sees(kind.gone, from)
      const back = await observer.seesTimes(kind.back, PEERS, from)
      took.push(back.atMs - damage.atMs)
      await sleep(PAUSE_MS)
    }
    yield* rows(kind.name, took, median(floor))
  }
}

function* rows(what: string, took: readonly number[], reference: number): Iterable<Row> {
  const name = `f  ${what}, 1,000 peers, ${TIMES} times in a row`
  const row = (of: string, value: number) => ({
    name: `${name}: ${of}`,
    value,
    unit: 'ms',
    reference,
    ratio: value / reference,
  })
  yield row('p50', percentile(took, 50))
  yield { ...row('p99', percentile(took, 99)), target: 1.5 }
  yield row('the last', took.at(-1) ?? Number.NaN)
}
