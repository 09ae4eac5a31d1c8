import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { ApiServer } from '../support/api_server.ts'
import type { NodeSeed } from '../support/api_server_nodes.ts'
import type { Row } from './row.ts'

const nodeCount = 5000
const settleMs = 15_000

type Way = 'store' | 'whole' | 'informer'

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
    const bundle = bundleChild(folder)
    const kubeconfig = server.writeKubeconfig(join(folder, 'kubeconfig'))
    const measured = {} as Record<Way, Measured>
    for (const way of ['store', 'whole', 'informer'] as const)
      measured[way] = await measure(way, bundle, kubeconfig, server)
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
    { name: 'RSS peak', ...rss(store.peakMb, informer.peakMb), target: 100 },
    { name: 'RSS settled', ...rss(store.settledMb, informer.settledMb), target: 85 },
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

async function measure(way: Way, bundle: string, kubeconfig: string, server: ApiServer): Promise<Measured> {
  const env = { ...process.env, BENCH_WAY: way, BENCH_KUBECONFIG: kubeconfig }
  const child = spawn(process.execPath, ['--no-deprecation', bundle], {
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async () => JSON.parse((await lines.next()).value) as Record<string, number>
  try {
    const began = performance.now()
    const { nodes } = await next()
    if (nodes !== nodeCount) throw new Error(`The ${way} has ${nodes} Nodes, not ${nodeCount}`)
    const syncMs = performance.now() - began
    await sleep(settleMs)
    const settled = await usage(child, next)
    const heartbeatBytes = await heartbeats(server, next)
    const after = await usage(child, next)
    return {
      syncMs,
      peakMb: mb(settled.peakKib),
      settledMb: mb(settled.rssKib),
      heartbeatCpuMs: (after.cpuMs ?? 0) - (settled.cpuMs ?? 0),
      heartbeatMb: heartbeatBytes / 1024 / 1024,
      heartbeatPeakMb: mb(after.peakKib),
    }
  } finally {
    child.stdin.end()
    await new Promise(resolve => child.once('close', resolve))
  }
}

async function usage(child: ChildProcess, next: () => Promise<Record<string, number>>) {
  child.stdin?.write('\n')
  return await next()
}

/** A status update of every Node, ten at a time, and a last one that can be seen to have come. Resolves to bytes sent. */
async function heartbeats(server: ApiServer, next: () => Promise<unknown>): Promise<number> {
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
  await next()
  // History is not what is measured, and would grow with every way.
  server.storage.history.length = 0
  return server.bytesSent - before
}

/** By the command, as this file may be bundled itself and esbuild's API cannot be. */
function bundleChild(folder: string): string {
  const root = projectRoot(import.meta.dirname)
  const outfile = join(folder, 'child.cjs')
  const flags = [
    '--bundle',
    '--minify',
    '--platform=node',
    '--target=node20',
    '--format=cjs',
    '--log-level=error',
  ]
  const entry = join(root, 'test/bench/kubernetes_child.ts')
  execFileSync(join(root, 'node_modules/.bin/esbuild'), [entry, ...flags, `--outfile=${outfile}`])
  return outfile
}

function projectRoot(folder: string): string {
  return existsSync(join(folder, 'package.json')) ? folder : projectRoot(dirname(folder))
}

/** A Node as a kubelet and a cloud provider leave it: half of it images and conditions. */
function nodeSeed(n: number): NodeSeed {
  const name = `ip-10-0-${n >> 8}-${n & 255}.eu-central-1.compute.internal`
  const fields = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`f:label.example.com/${i}`, {}]))
  const managedFields = ['kubelet', 'twilld'].map(manager => ({
    manager,
    operation: 'Update',
    apiVersion: 'v1',
    fieldsType: 'FieldsV1',
    fieldsV1: manager === 'kubelet' ? { 'f:metadata': { 'f:labels': fields } } : {},
  }))
  const images = Array.from({ length: 62 }, (_, i) => ({
    names: [
      `registry.example.com/team/image-${i}@sha256:${'0123456789abcdef'.repeat(4)}`,
      `registry.example.com/team/image-${i}:v1.${i}.0`,
    ],
    sizeBytes: 50_000_000 + i,
  }))
  return {
    name,
    podCidrs: [`10.${64 + (n >> 8)}.${n & 255}.0/24`],
    annotations: {
      'node.alpha.kubernetes.io/ttl': '0',
      'volumes.kubernetes.io/controller-managed-attach-detach': 'true',
      'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
      'flannel.alpha.coreos.com/backend-type': 'vxlan',
      'flannel.alpha.coreos.com/backend-data': `{"VNI":1,"VtepMAC":"02:00:00:00:${hex(n >> 8)}:${hex(n & 255)}"}`,
      'flannel.alpha.coreos.com/public-ip': `10.0.${n >> 8}.${n & 255}`,
    },
    ballast: { managedFields, status: { images, capacity: { cpu: '8', memory: '32Gi', pods: '110' } } },
  }
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0')
}

function mb(kib: number | undefined): number {
  return (kib ?? 0) / 1024
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  console.table(await kubernetesBench())
}
