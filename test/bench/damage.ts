import { setTimeout as sleep } from 'node:timers/promises'
import type { Host } from '../support/host.ts'
import { BenchBed } from './bed.ts'
import type { Contender } from './contender.ts'
import { Flow } from './flow.ts'
import { storedLeases } from './peers.ts'
import type { Row } from './row.ts'

const PEERS = 1_000
const EVERY_MS = 4_000
const TIMES = 15
const REST_MS = 12_000

/** What another program does to the device, again and again. */
const kinds: readonly { readonly name: string; act(n: number): readonly string[] }[] = [
  { name: 'link set down', act: () => ['link', 'set', 'flannel.1', 'down'] },
  { name: 'MAC changed', act: n => ['link', 'set', 'flannel.1', 'address', `02:99:99:99:99:${n + 16}`] },
  { name: 'device deleted', act: () => ['link', 'delete', 'flannel.1'] },
  { name: 'neighbors flushed', act: () => ['neigh', 'flush', 'dev', 'flannel.1', 'nud', 'permanent'] },
]

/** m: a device is damaged every 4 s for a minute, among 1,000 peers: what pods of two hosts lose of 1,000 datagrams a second. */
export async function* damage(contender: Contender): AsyncGenerator<Row> {
  for (const { name, act } of kinds) {
    // Each kind on hosts that nothing has happened to: not every agent repairs.
    await using bed = await BenchBed.create({ hosts: 2 })
    const [first, second] = bed.hosts
    if (first === undefined || second === undefined) throw new Error('Two hosts are needed')
    await bed.put(storedLeases(0, PEERS))
    await Promise.all([first, second].map(host => bed.startContender(contender, PEERS + 1, host)))
    const [pod, other] = await Promise.all([first.pod(), second.pod()])
    await using flow = await Flow.between(pod, other)
    await sleep(REST_MS)
    const { lost, sent, longestGapMs } = await flow.carry(() => minute(first, act))
    const row = `m  ${name} every 4 s for a minute`
    yield { name: `${row}: lost`, value: lost, unit: 'packets', note: `of ${sent.toLocaleString('en-US')}` }
    yield { name: `${row}: longest gap`, value: longestGapMs, unit: 'ms', target: 1_000 }
  }
}

/** What is gone already may fail to be deleted. */
async function minute(host: Host, act: (n: number) => readonly string[]): Promise<void> {
  for (let n = 0; n < TIMES; n++) {
    const next = sleep(EVERY_MS)
    await host.attempt(['ip', ...act(n)])
    await next
  }
}
