import { setTimeout as sleep } from 'node:timers/promises'
import { BenchBed } from './bed.ts'
import type { Contender } from './contender.ts'
import type { Written } from './jobs/store.ts'
import { Observer } from './observer.ts'
import { madeUpPeer, storedLease, storedLeases } from './peers.ts'
import type { Row } from './row.ts'
import { percentile } from './statistics.ts'

const PEERS = 5_000
const TIMES = 200

/** One change: when it was written, and when the kernel's last word on it came. */
interface Change extends Written {
  readonly kernelMs: number
}

/** c: one peer joins or leaves among 5,000; the reference is a bare watcher that hears of the same key. */
export async function* membership(contender: Contender): AsyncGenerator<Row> {
  await using bed = await BenchBed.create()
  await bed.put(storedLeases(0, PEERS))
  const agent = await bed.startContender(contender, PEERS)
  await using observer = await Observer.start(bed.host.netns)
  const joins: Change[] = []
  const leaves: Change[] = []
  for (let n = PEERS; n < PEERS + TIMES; n++) {
    joins.push(await change(bed, observer, n, false))
    leaves.push(await change(bed, observer, n, true))
  }
  yield* rows('join', joins)
  yield* rows('leave', leaves)
  await agent.stop()
}

/** A route comes last and an FDB entry goes last. */
async function change(bed: BenchBed, observer: Observer, n: number, leave: boolean): Promise<Change> {
  const { subnet, mac, publicIp } = madeUpPeer(n)
  const last = leave ? `^Deleted ${publicIp} dev flannel.1 lladdr ${mac}` : `^${subnet} via`
  const from = observer.mark
  const written = await bed.store.call('time', storedLease(n), leave)
  const { atMs } = await observer.sees(new RegExp(last), from)
  // Changes by themselves, not a storm: that would be folded into fewer rounds.
  await sleep(20)
  return { ...written, kernelMs: atMs }
}

function* rows(what: string, changes: readonly Change[]): Iterable<Row> {
  const ours = changes.map(({ putMs, kernelMs }) => kernelMs - putMs)
  const bare = changes.map(({ putMs, watchedMs }) => watchedMs - putMs)
  for (const percent of [50, 99]) {
    const [value, reference] = [percentile(ours, percent), percentile(bare, percent)]
    const name = `c  ${what} among 5,000: p${percent}`
    yield { name, value, unit: 'ms', reference, ratio: value / reference, target: 2.5 }
  }
}
