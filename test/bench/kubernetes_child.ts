import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { V1Node } from '@kubernetes/client-node'
import { agentV8Flags, setV8Flags } from '../../agent/runtime/v8_flags.ts'
import type { Log } from '../../lease/common/log.ts'
import { annotationNames } from '../../lease/kubernetes/annotations.ts'
import { openApiConfig } from '../../lease/kubernetes/api_config.ts'
import { followNodes } from '../../lease/kubernetes/follow.ts'
import { NodeSource } from '../../lease/kubernetes/node_source.ts'
import { defaultTiming, Session } from '../../lease/kubernetes/session.ts'
import { openKubernetesStore } from '../../lease/kubernetes/store.ts'
import type { KubernetesOptions } from '../../lease/options.ts'

/**
 * What kubernetes.ts measures, in a process of its own. BENCH_WAY says how it follows the Nodes; it prints a line of JSON
 * when it has them all, one when the Node `sentinel` has another public IP, and one with its usage for each line it reads.
 */

setV8Flags(agentV8Flags)

const prefix = 'flannel.alpha.coreos.com'
const kubeconfigFile = process.env.BENCH_KUBECONFIG ?? ''
const signal = new AbortController().signal

const options: KubernetesOptions = {
  kind: 'kubernetes',
  nodeName: 'sentinel',
  podName: undefined,
  podNamespace: undefined,
  apiUrl: undefined,
  kubeconfigFile,
  annotationPrefix: prefix,
  networkConfigFile: '',
  setNodeNetworkUnavailable: true,
  cacheFile: undefined,
}

const log: Log = {
  trace: () => {},
  debug: () => {},
  info: (_fields, message) => console.error(message),
  warn: (_fields, message) => console.error(message),
  error: (_fields, message) => console.error(message),
}

let last: string | undefined

/** Says it where the sentinel's public IP is another one; the first one is only noted. */
function noteSentinel(publicIp: string | undefined): void {
  if (last !== undefined && publicIp !== last) say({ sentinel: publicIp })
  last = publicIp
}

function say(what: object): void {
  process.stdout.write(`${JSON.stringify(what)}\n`)
}

/** How the agent does it. */
async function store(): Promise<void> {
  let first = true
  for await (const { table } of openKubernetesStore(options, log).watch(signal)) {
    if (first) say({ nodes: table.size })
    first = false
    noteSentinel(table.get('sentinel')?.subnets[0]?.publicIp)
  }
}

/** The same with whole Nodes in the watch. */
async function whole(): Promise<void> {
  const session = new Session(openApiConfig(options), defaultTiming, log)
  const names = annotationNames(prefix)
  const source = new NodeSource(session, names.all)
  const depths = { depth: 'whole', firstDepth: 'whole' } as const
  const following = {
    session,
    source,
    what: 'all Nodes',
    name: undefined,
    ...depths,
    keptAnnotations: names.all,
  }
  const nodes = new Map<string, object>()
  for await (const step of followNodes(following, signal)) {
    if (step.type === 'all') {
      for (const node of step.nodes) nodes.set(node.name, node)
      say({ nodes: nodes.size })
      noteSentinel(
        step.nodes.find(({ name }) => name === 'sentinel')?.annotations.get(names.families.ipv4.publicIp),
      )
    } else {
      nodes.set(step.node.name, step.node)
      if (step.node.name === 'sentinel') noteSentinel(step.node.annotations.get(names.families.ipv4.publicIp))
    }
  }
}

/** What the client library offers for it. */
async function informer(): Promise<void> {
  const { CoreV1Api, KubeConfig, makeInformer } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  config.loadFromFile(kubeconfigFile)
  const api = config.makeApiClient(CoreV1Api)
  const all = makeInformer(config, '/api/v1/nodes', () => api.listNode())
  const sentinelOf = (node: V1Node) => node.metadata?.annotations?.[`${prefix}/public-ip`]
  all.on('change', node => {
    if (node.metadata?.name === 'sentinel') noteSentinel(sentinelOf(node))
  })
  await all.start()
  const nodes = all.list()
  say({ nodes: nodes.length })
}

/** Sizes in KiB, as the kernel has them; CPU in ms. */
function usage(): object {
  const status = readFileSync('/proc/self/status', 'utf8')
  const size = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1])
  const { user, system } = process.cpuUsage()
  return { rssKib: size('VmRSS'), peakKib: size('VmHWM'), cpuMs: (user + system) / 1000 }
}

createInterface(process.stdin)
  .on('line', () => say(usage()))
  .on('close', () => process.exit(0))

const ways: Record<string, () => Promise<void>> = { store, whole, informer }
ways[process.env.BENCH_WAY ?? 'store']?.().catch((error: unknown) => {
  console.error(error)
  process.exit(1)
})
