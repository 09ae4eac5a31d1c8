import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { ApiServer } from '../support/api_server.ts'
import { writeAnnotations } from '../support/api_server_nodes.ts'
import { type Follower, startFollower } from './kubernetes_follower.ts'
import { nodeSeed } from './node_seed.ts'
import type { Row } from './row.ts'
import { median } from './statistics.ts'

const present = 1000
const joins = 1000
const runs = 3

interface Joined {
  /** From the first Node created to the last lease known. */
  readonly allMs: number
  /** From a Node's annotations to its lease, in the middle. */
  readonly oneMs: number
  readonly cpuMs: number
  readonly peakMb: number
  readonly requests: number
}

/**
 * How soon 1,000 Nodes that join are known, 12 KB each, as flanneld leaves them: created by the kubelet, given a podCIDR,
 * annotated. At once, and 200 a second, from an API server that takes its time for each answer; beside one watch
 * of whole Nodes, which is how flanneld follows them. Both follow the same stream at the same time: most of what it lasts is
 * the test server's own work, which moves by half from run to run.
 */
export async function* kubernetesJoins(): AsyncGenerator<Row, void, undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'twill-bench-'))
  try {
    for (const answerMs of [2, 10, 40]) {
      for (const perSecond of [Number.POSITIVE_INFINITY, 200]) {
        const measured: Both[] = []
        for (let run = 0; run < runs; run++) measured.push(await measure(folder, answerMs, perSecond))
        yield* rows(measured, answerMs, perSecond)
      }
    }
  } finally {
    await rm(folder, { recursive: true })
  }
}

interface Both {
  readonly store: Joined
  readonly whole: Joined
}

function* rows(measured: readonly Both[], answerMs: number, perSecond: number): Generator<Row> {
  const atOnce = perSecond === Number.POSITIVE_INFINITY
  const name = `i  1,000 joins${atOnce ? ' at once' : `, ${perSecond} a second`}, answers take ${answerMs} ms`
  const figures = (key: keyof Joined) => {
    const of = (way: keyof Both) => median(measured.map(both => both[way][key]))
    return { value: of('store'), reference: of('whole') }
  }
  const against = (unit: string, key: keyof Joined, target: number) => {
    const ratio = median(measured.map(({ store, whole }) => store[key] / whole[key]))
    return { unit, ...figures(key), ratio, target, note: 'reference: a watch of whole Nodes' }
  }
  yield { name, ...against('ms', atOnce ? 'allMs' : 'oneMs', 1) }
  // The reference reads no leases.
  yield { name: `${name}: CPU`, unit: 'ms', ...figures('cpuMs') }
  yield { name: `${name}: RSS peak`, ...against('MB', 'peakMb', 1.1) }
  yield { name: `${name}: requests`, unit: '', value: figures('requests').value, target: 50 }
}

async function measure(folder: string, answerMs: number, perSecond: number): Promise<Both> {
  const server = await new ApiServer().start()
  for (let n = 1; n < present; n++) server.storage.create(nodeSeed(n))
  server.storage.create({ ...nodeSeed(0), name: 'sentinel' })
  server.answerAfterMs = answerMs
  const kubeconfig = server.writeKubeconfig(join(folder, 'kubeconfig'))
  const [store, whole] = [startFollower('store', kubeconfig), startFollower('whole', kubeconfig)]
  const usage = async () => ({ store: await store.usage(), whole: await whole.usage() })
  try {
    await Promise.all([store.next(), whole.next()])
    while (server.watching < 2) await sleep(10)
    await sleep(500)
    const since = server.requests.length
    const before = await usage()
    const known = { store: collect(store), whole: collect(whole) }
    const beganMs = performance.timeOrigin + performance.now()
    const annotatedMs = await joinAll(server, perSecond)
    const knownMs = { store: await known.store, whole: await known.whole }
    const requests = server.requests.length - since
    const after = await usage()
    const joined = (way: keyof Both): Joined => ({
      allMs: Math.max(...knownMs[way]) - beganMs,
      oneMs: median(knownMs[way].map((atMs, n) => atMs - (annotatedMs[n] ?? 0))),
      cpuMs: after[way].cpuMs - before[way].cpuMs,
      peakMb: after[way].peakMb,
      requests,
    })
    return { store: joined('store'), whole: joined('whole') }
  } finally {
    await store.stop()
    await whole.stop()
    await server.stop()
  }
}

/** When each Node that joined was known. */
async function collect(follower: Follower): Promise<number[]> {
  const knownMs: number[] = []
  for (let seen = 0; seen < joins; seen++) {
    const { join: n = 0, atMs = 0 } = await follower.next()
    knownMs[n] = atMs
  }
  return knownMs
}

/** Resolves to when each was annotated. A Node's three steps are ten joins apart from each other. */
async function joinAll(server: ApiServer, perSecond: number): Promise<number[]> {
  const annotatedMs: number[] = []
  const apart = 10
  const beganMs = performance.now()
  for (let n = 0; n < joins + 2 * apart; n++) {
    if (n < joins) create(server, n)
    if (n >= apart && n < joins + apart) assign(server, n - apart)
    if (n >= 2 * apart) {
      annotatedMs[n - 2 * apart] = performance.timeOrigin + performance.now()
      annotate(server, n - 2 * apart)
    }
    const dueMs = beganMs + (1000 * (n + 1)) / perSecond
    if (dueMs > performance.now()) await sleep(dueMs - performance.now())
    else if (n % 10 === 9) await sleep(0)
  }
  return annotatedMs
}

const seedOf = (n: number) => ({ ...nodeSeed(present + n), name: `join${n}` })

function create(server: ApiServer, n: number): void {
  server.storage.create({ ...seedOf(n), podCidrs: [], annotations: {} })
}

function assign(server: ApiServer, n: number): void {
  const { podCidrs = [] } = seedOf(n)
  const [podCIDR] = podCidrs
  server.storage.update(`join${n}`, node => Object.assign(node.spec, { podCIDR, podCIDRs: podCidrs }))
}

function annotate(server: ApiServer, n: number): void {
  const { annotations = {} } = seedOf(n)
  server.storage.update(`join${n}`, node => writeAnnotations(node, 'flanneld', annotations))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for await (const row of kubernetesJoins()) console.log(JSON.stringify(row))
}
