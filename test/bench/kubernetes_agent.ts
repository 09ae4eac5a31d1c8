import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { FakeCluster } from '../support/api_server_cluster.ts'
import { writeAnnotations } from '../support/api_server_nodes.ts'
import { Bed } from '../support/bed.ts'
import { Gateway } from '../support/gateway.ts'
import type { Host } from '../support/host.ts'
import { memoryOf } from '../support/memory.ts'
import { type Follower, startFollower } from './kubernetes_follower.ts'
import { nodeSeed } from './node_seed.ts'
import { Observer } from './observer.ts'
import type { Row } from './row.ts'
import { percentile } from './statistics.ts'
import { wallClock } from './wall_clock.ts'

const nodeCount = 5_000
const joins = 100
const settleMs = 40_000
const network = '{"Network":"10.64.0.0/10","Backend":{"Type":"vxlan"}}'
/** Where the Nodes of node_seed.ts have their public IPs. */
const underlay = '10.0.0.0/16'

/**
 * The whole agent among 5,000 Nodes of 12 KB: from its birth to its last route, what memory it takes, and how soon a Node that
 * joins is in the kernel, against one watch of whole Nodes that hears of it.
 */
export async function* kubernetesAgent(): AsyncGenerator<Row> {
  const bed = await Bed.create({ name: 'bench' })
  const cluster = await FakeCluster.open(network)
  const gateway = await Gateway.open(bed.directory, Number(new URL(cluster.server.url).port))
  try {
    const lan = await bed.segment('lan', ['192.168.50.0/24', 'fd50::/64'])
    const [host, far] = [await bed.host('own', lan), await bed.host('far', lan)]
    await host.exec(['ip', 'route', 'add', underlay, 'via', far.address()])
    await gateway.lead(host)
    for (let n = 1; n < nodeCount; n++) await cluster.createNode(nodeSeed(n))
    await cluster.createNode({ ...nodeSeed(0), name: host.name, annotations: {} })
    yield* await measure(cluster, host)
  } finally {
    await bed.dispose()
    gateway.close()
    await cluster.close()
  }
}

async function measure(cluster: FakeCluster, host: Host): Promise<readonly Row[]> {
  await using observer = await Observer.start(host.netns)
  const { networkConfigFile, kubeconfigFile } = cluster.options(host.name)
  const flags = [
    '--kube-subnet-mgr',
    `--kubeconfig-file=${kubeconfigFile}`,
    `--net-config-path=${networkConfigFile}`,
  ]
  const bornMs = wallClock()
  const agent = host.launchAgent({ endpoints: [], flags, env: { NODE_NAME: host.name } })
  const last = await observer.seesTimes(/^10\.\d+\.\d+\.0\/24 via .* dev flannel\.1/, nodeCount - 1, 0)
  await agent.ready()
  await sleep(settleMs)
  const { peak, rss, anonymous } = memoryOf(agent.process.pid)
  const name = `i  agent, 5,000 Nodes:`
  const rows: Row[] = [
    { name: `${name} from its birth to the last route`, value: last.atMs - bornMs, unit: 'ms' },
    { name: `${name} RSS peak`, value: peak, unit: 'MB', target: 85 },
    { name: `${name} RSS settled`, value: rss, unit: 'MB', target: 68 },
    { name: `${name} anonymous, settled`, value: anonymous, unit: 'MB' },
  ]
  const bare = startFollower('whole', kubeconfigFile ?? '', command => host.inside(command))
  await bare.next()
  const joined: { readonly kernelMs: number; readonly bareMs: number }[] = []
  for (let n = 0; n < joins; n++) joined.push(await join(cluster, observer, bare, n))
  await bare.stop()
  await agent.stop()
  for (const percent of [50, 99]) {
    const [value, reference] = [
      percentile(
        joined.map(({ kernelMs }) => kernelMs),
        percent,
      ),
      percentile(
        joined.map(({ bareMs }) => bareMs),
        percent,
      ),
    ]
    const note = 'reference: a watch of whole Nodes'
    rows.push({
      name: `${name} a join, p${percent}`,
      value,
      unit: 'ms',
      reference,
      ratio: value / reference,
      note,
    })
  }
  return rows
}

/** From a Node's annotations, as flanneld writes them, to its route, and to when the bare watch has it. */
async function join(cluster: FakeCluster, observer: Observer, bare: Follower, n: number) {
  const { podCidrs = [], annotations = {}, ...rest } = nodeSeed(nodeCount + n)
  const name = `join${n}`
  await cluster.createNode({ ...rest, name, podCidrs, annotations: {} })
  await sleep(20)
  const from = observer.mark
  const putMs = wallClock()
  cluster.server.storage.update(name, node => writeAnnotations(node, 'flanneld', annotations))
  const { atMs = 0 } = await bare.next()
  const route = await observer.sees(new RegExp(`^${podCidrs[0]} via`), from)
  return { kernelMs: route.atMs - putMs, bareMs: atMs - putMs }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for await (const row of kubernetesAgent()) console.log(JSON.stringify(row))
}
