import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { ApiServer } from '../support/api_server.ts'
import { type Follower, startFollower, type Way } from './kubernetes_follower.ts'
import { nodeSeed } from './node_seed.ts'
import type { Row } from './row.ts'

const nodeCount = 5000
const settleMs = 15_000

interface Measured {
  readonly syncMs: number
  readonly peakMb: number
  readonly settledMb: number
  readonly heartbeatCpuMs: number
  readonly heartbeatMb: number
  readonly heartbeatPeakMb: number
}

/**
 * What it costs a node to know 5,000 Nodes of 12 KB: memory of the bundled store as the agent runs it, and CPU and bytes
 * of one status heartbeat of each, against a watch of whole Nodes and the library's own informer.
 */
export async function kubernetesBench(): Promise<readonly Row[]> {
  const folder = await mkdtemp(join(tmpdir(), 'twill-bench-'))
  const server = await new ApiServer().start()
  try {
    for (let n = 1; n < nodeCount; n++) server.storage.create(nodeSeed(n))
    server.storage.create({ ...nodeSeed(0), name: 'sentinel' })
    const kubeconfig = server.writeKubeconfig(join(folder, 'kubeconfig'))
    const measured = {} as Record<Way, Measured>
    for (const way of ['store', 'whole', 'informer'] as const)
      measured[way] = await measure(way, kubeconfig, server)
    return rows(measured, server)
  } finally {
    await server.stop()
    await rm(folder, { recursive: true })
  }
}

function rows({ store, whole, informer }: Record<Way, Measured>, server: ApiServer): readonly Row[] {
  const [node] = server.storage.nodes.values()
  const wholeWatch = 'reference: a watch of whole Nodes'
  const library = "reference: the client library's informer"
  const rss = (value: number, reference: number) => ({ unit: 'MB', value, reference, note: library })
  const cost = (unit: string, value: number, reference: number) => {
    return { unit, value, reference, ratio: value / reference, target: 0.2, note: wholeWatch }
  }
  return [
    { name: 'one Node, whole', value: (node?.whole.length ?? 0) / 1024, unit: 'KB' },
    { name: 'one Node, metadata', value: (node?.metadata.length ?? 0) / 1024, unit: 'KB' },
    {
      name: 'first table of 5,000 Nodes',
      unit: 'ms',
      value: store.syncMs,
      reference: informer.syncMs,
      note: library,
    },
    { name: 'RSS peak', ...rss(store.peakMb, informer.peakMb), target: 85 },
    { name: 'RSS settled', ...rss(store.settledMb, informer.settledMb), target: 68 },
    { name: 'RSS peak after heartbeats', ...rss(store.heartbeatPeakMb, informer.heartbeatPeakMb) },
    { name: 'CPU of 5,000 heartbeats', ...cost('ms', store.heartbeatCpuMs, whole.heartbeatCpuMs) },
    {
      name: 'CPU of 5,000 heartbeats, informer',
      ...cost('ms', store.heartbeatCpuMs, informer.heartbeatCpuMs),
      note: library,
    },
    { name: 'bytes of 5,000 heartbeats', ...cost('MB', store.heartbeatMb, whole.heartbeatMb) },
  ]
}

async function measure(way: Way, kubeconfig: string, server: ApiServer): Promise<Measured> {
  const began = performance.now()
  const follower = startFollower(way, kubeconfig)
  try {
    const { nodes } = await follower.next()
    if (nodes !== nodeCount) throw new Error(`The ${way} has ${nodes} Nodes, not ${nodeCount}`)
    const syncMs = performance.now() - began
    await sleep(settleMs)
    const settled = await follower.usage()
    const heartbeatBytes = await heartbeats(server, follower)
    const after = await follower.usage()
    return {
      syncMs,
      peakMb: settled.peakMb,
      settledMb: settled.rssMb,
      heartbeatCpuMs: after.cpuMs - settled.cpuMs,
      heartbeatMb: heartbeatBytes / 1024 / 1024,
      heartbeatPeakMb: after.peakMb,
    }
  } finally {
    await follower.stop()
  }
}

/** A status update of every Node, ten at a time, and a last one that can be seen to have come. Resolves to bytes sent. */
async function heartbeats(server: ApiServer, follower: Follower): Promise<number> {
  const before = server.bytesSent
  let sent = 0
  for (const name of [...server.storage.nodes.keys()]) {
    server.storage.update(name, node => {
      node.status.heartbeat = new Date().toISOString()
    })
    if (++sent % 10 === 0) await sleep(1)
  }
  server.storage.update('sentinel', ({ metadata }) => {
    metadata.annotations['flannel.alpha.coreos.com/public-ip'] =
      `192.0.2.${1 + (Number(metadata.resourceVersion) % 250)}`
  })
  await follower.next()
  // History is not what is measured, and would grow with every way.
  server.storage.history.length = 0
  return server.bytesSent - before
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  console.table(await kubernetesBench())
}
