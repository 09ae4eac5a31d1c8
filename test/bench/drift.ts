import { setTimeout as sleep } from 'node:timers/promises'
import type { Family } from '../../lease/net/ip.ts'
import { BenchBed } from './bed.ts'
import { type Drift, entryDrifts, linkDrifts, type OwnVtep, ownVtep } from './drifts.ts'
import { Flow } from './flow.ts'
import { Observer } from './observer.ts'
import { dualStack, storedLeases } from './peers.ts'
import type { Row } from './row.ts'
import { percentile } from './statistics.ts'

const PEERS = 1_000
/** Of each kind, each on another peer. */
const TIMES = 100
/** Of what there is only one of on a node. */
const LINK_TIMES = 10
/** So many repairs of one key in a row are done at once, and after so long a rest they are forgiven (agent/reconcile/attempts.ts). */
const BURST = 5
const REST_MS = 10_500
/** A drifted device is looked at twice, its repair too, and of such looks one a second is free (agent/reconcile/passes.ts). */
const SETTLE_MS = 2_500
const families = ['ipv4', 'ipv6'] as const

/** f: from what another program does in the kernel to its repair, both as `ip monitor` has them. */
export async function* drift(): AsyncGenerator<Row> {
  await using bed = await BenchBed.create({ hosts: 2, config: dualStack })
  await bed.put(storedLeases(0, PEERS, families))
  await Promise.all(bed.hosts.map(host => bed.startAgent([], host)))
  await using observer = await Observer.start(bed.host.netns)
  const vteps = await Promise.all(families.map(family => ownVtep(bed.host, family)))
  for (const [i, family] of families.entries()) {
    for (const kind of entryDrifts(family, vteps[i])) yield* repeated(bed, observer, kind, family)
  }
  for (const row of await ofLinks(bed, observer, vteps)) yield row
  const [pod, other] = await Promise.all(bed.hosts.map(host => host.pod()))
  const [, second] = bed.hosts
  if (pod === undefined || other === undefined || second === undefined)
    throw new Error('Two hosts are needed')
  await using flow = await Flow.between(pod, other)
  const towards = await ownVtep(second, 'ipv4')
  for (const kind of [...entryDrifts('ipv4', vteps[0], towards), ...linkDrifts(vteps[0])]) {
    if (kind.harmless) continue
    await sleep(REST_MS)
    const { lost } = await flow.carry(async () => {
      for (let n = 0; n < BURST; n++) {
        await sleep(SETTLE_MS)
        await repair(bed, observer, kind.at(n))
      }
    })
    yield {
      name: `f  ${kind.name}, IPv4: lost a time`,
      value: lost / BURST,
      unit: 'packets',
      note: 'of 1,000 a second',
    }
  }
}

async function* repeated(
  bed: BenchBed,
  observer: Observer,
  kind: { readonly name: string; at(n: number): Drift },
  family: Family,
): AsyncGenerator<Row> {
  const took: number[] = []
  for (let n = 0; n < TIMES; n++) {
    took.push(await repair(bed, observer, kind.at(n)))
    await sleep(20)
  }
  yield* rows(kind.name, family, took)
}

/** Bursts on both families' devices in turn, with a rest in between. */
async function ofLinks(bed: BenchBed, observer: Observer, vteps: readonly OwnVtep[]): Promise<Row[]> {
  const all: Row[] = []
  const kinds = vteps.map(linkDrifts)
  for (const [k, { name }] of (kinds[0] ?? []).entries()) {
    const took: number[][] = vteps.map(() => [])
    for (let done = 0; done < LINK_TIMES; done += BURST) {
      await sleep(REST_MS)
      for (let n = 0; n < BURST; n++) {
        for (const [i, ofFamily] of kinds.entries()) {
          const drift = ofFamily[k]?.at(n)
          if (drift !== undefined) took[i]?.push(await repair(bed, observer, drift))
          await sleep(SETTLE_MS)
        }
      }
    }
    for (const [i, family] of families.entries()) all.push(...rows(name, family, took[i] ?? []))
  }
  return all
}

/** ms from the kernel's word on the damage to its word on the repair. */
async function repair({ host }: BenchBed, observer: Observer, { act, gone, back }: Drift): Promise<number> {
  const from = observer.mark
  await host.exec(act)
  const damage = await observer.sees(gone, from)
  const repaired = await observer.seesAfter(back, damage)
  return repaired.atMs - damage.atMs
}

function* rows(what: string, family: Family, took: readonly number[]): Iterable<Row> {
  const name = `f  ${what}, ${family === 'ipv6' ? 'IPv6' : 'IPv4'}`
  const note = `${took.length} times`
  yield { name: `${name}: p50`, value: percentile(took, 50), unit: 'ms', note }
  yield { name: `${name}: p99`, value: percentile(took, 99), unit: 'ms', target: 50 }
}
