import { setTimeout as sleep } from 'node:timers/promises'
import type { Host } from '../support/host.ts'
import { BenchBed } from './bed.ts'
import type { Contender } from './contender.ts'
import { type OwnVtep, ownVtep } from './drifts.ts'
import { Observer } from './observer.ts'
import { madeUpPeer, storedLeases } from './peers.ts'
import type { Row } from './row.ts'
import { percentile } from './statistics.ts'
import { wallClock } from './wall_clock.ts'

const PEERS = 1_000
/** In a row: the last repair must be as quick as the first. */
const TIMES = 20
const PAUSE_MS = 300
const QUIET_MS = 12_000
/** An agent that has not begun to repair by then never does. */
const NEVER_MS = 15_000
const device = 'flannel.1'
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
  /** Puts back what went with it. */
  repair(own: OwnVtep): readonly Batch[]
}

interface Batch {
  readonly tool: 'ip' | 'bridge'
  readonly lines: readonly string[]
}

const peers = Array.from({ length: PEERS }, (_, i) => madeUpPeer(i))
const fdb: Batch = {
  tool: 'bridge',
  lines: peers.map(({ mac, publicIp }) => `fdb replace ${mac} dev ${device} dst ${publicIp} self permanent`),
}
const neighbors = peers.map(
  ({ gateway, mac }) => `neigh replace ${gateway} lladdr ${mac} dev ${device} nud permanent`,
)
const routes = peers.map(
  ({ subnet, gateway }) => `route replace ${subnet} via ${gateway} dev ${device} onlink`,
)

const kinds: readonly Kind[] = [
  {
    name: 'link down',
    act: () => `link set ${device} down`,
    gone: /^\d+: flannel\.1: <BROADCAST,MULTICAST> /,
    back: route,
    repair: () => [ip(`link set ${device} up`, ...neighbors, ...routes)],
  },
  {
    name: 'address deleted',
    act: ({ gateway }) => `address delete ${gateway}/32 dev ${device}`,
    gone: /^Deleted \d+: flannel\.1 +inet /,
    back: route,
    repair: ({ gateway }) => [ip(`address add ${gateway}/32 dev ${device}`, ...neighbors, ...routes)],
  },
  {
    name: 'MAC changed',
    act: (_, n) => `link set ${device} address 02:99:99:99:99:${(n + 16).toString(16)}`,
    gone: /^\d+: flannel\.1: .*ether 02:99:99:99:99/,
    back: neighbor,
    repair: ({ mac }) => [ip(`link set ${device} address ${mac}`, ...neighbors)],
  },
  {
    name: 'device deleted',
    act: () => `link delete ${device}`,
    gone: /^Deleted \d+: flannel\.1: /,
    back: route,
    repair: ({ publicIp, gateway }) => [
      ip(...newDevice(publicIp, gateway)),
      fdb,
      ip(...neighbors, ...routes),
    ],
  },
]

/** k: a device is damaged again and again among 1,000 peers; on another host `ip -batch` puts the same entries back. */
export async function* repairs(contender: Contender): AsyncGenerator<Row> {
  await using bed = await BenchBed.create({ hosts: 2 })
  await bed.put(storedLeases(0, PEERS))
  const [first, second] = bed.hosts
  if (first === undefined || second === undefined) throw new Error('Two hosts are needed')
  await using observer = await Observer.start(first.netns)
  await using secondObserver = await Observer.start(second.netns)
  const madeByHand = await makeByHand(second)
  for (const kind of kinds) {
    const agent = await bed.startContender(contender, PEERS)
    const own = await ownVtep(first, 'ipv4')
    await sleep(QUIET_MS)
    const took: number[] = []
    const byHand: number[] = []
    for (let n = 0; n < TIMES && took.at(-1) !== Number.POSITIVE_INFINITY; n++) {
      took.push(await repairMs(first, observer, kind, kind.act(own, n)))
      byHand.push(
        await repairMs(second, secondObserver, kind, kind.act(madeByHand, n), kind.repair(madeByHand)),
      )
      await sleep(PAUSE_MS)
    }
    await agent.stop()
    yield* rows(kind.name, took, byHand)
  }
}

/** ms from the kernel's word on the damage, or from the start of the repair by hand, to the last entry that is back. */
async function repairMs(
  host: Host,
  observer: Observer,
  { gone, back }: Kind,
  act: string,
  byHand: readonly Batch[] = [],
): Promise<number> {
  const from = observer.mark
  await host.ip([act])
  const damage = await observer.sees(gone, from)
  const startedMs = byHand.length === 0 ? damage.atMs : wallClock()
  await runBatches(host, byHand)
  const last = await observer.seesTimes(back, PEERS, from, NEVER_MS).catch(() => undefined)
  return (last?.atMs ?? Number.POSITIVE_INFINITY) - startedMs
}

/** The device that an agent would make, and all that sits on it. */
async function makeByHand(host: Host): Promise<OwnVtep> {
  await runBatches(host, [ip(...newDevice(host.address(), '10.254.0.0')), fdb, ip(...neighbors, ...routes)])
  return await ownVtep(host, 'ipv4')
}

function ip(...lines: readonly string[]): Batch {
  return { tool: 'ip', lines }
}

function newDevice(local: string, gateway: string): readonly string[] {
  return [
    `link add ${device} mtu 1450 address 02:be:00:00:00:01 type vxlan id 1 dev eth0 local ${local} dstport 8472 nolearning`,
    `address add ${gateway}/32 dev ${device}`,
    `link set ${device} up`,
  ]
}

async function runBatches(host: Host, batches: readonly Batch[]): Promise<void> {
  for (const { tool, lines } of batches) await host[tool](lines)
}

function* rows(what: string, took: readonly number[], byHand: readonly number[]): Iterable<Row> {
  const row = (of: string, value: number, reference: number): Row => ({
    name: `k  ${what}, ${PEERS.toLocaleString('en-US')} peers: ${of}`,
    value,
    unit: 'ms',
    reference,
    ratio: value / reference,
  })
  yield { ...row('first', took[0] ?? Number.NaN, byHand[0] ?? Number.NaN), note: 'ip -batch beside it' }
  for (const percent of [50, 99]) {
    const name = `p${percent} of ${TIMES} in a row`
    yield { ...row(name, percentile(took, percent), percentile(byHand, percent)), target: 1.5 }
  }
  yield row('the last of them', took.at(-1) ?? Number.NaN, percentile(byHand, 50))
}
