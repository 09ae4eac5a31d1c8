import { releaseStartMemory } from '../../agent/runtime/memory.ts'
import { agentV8Flags, setV8Flags } from '../../agent/runtime/v8_flags.ts'
import type { Log } from '../../lease/common/log.ts'
import { openApiConfig } from '../../lease/kubernetes/client/api_config.ts'
import { defaultTiming, Session } from '../../lease/kubernetes/client/session.ts'
import { annotationNames, isManaged } from '../../lease/kubernetes/nodes/annotations.ts'
import { followNodes, type NodeStep } from '../../lease/kubernetes/nodes/follow.ts'
import { NodeSource } from '../../lease/kubernetes/nodes/node_source.ts'
import { openKubernetesStore } from '../../lease/kubernetes/store.ts'
import type { KubernetesOptions } from '../../lease/options.ts'
import { follow, kubeconfigFile, noteJoin, noteSentinel, prefix, say } from './kubernetes_output.ts'

/** Follows the Nodes in a process of its own: as the agent does it, or, where BENCH_WAY is `whole`, by a watch of whole Nodes. */

setV8Flags(agentV8Flags)

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

/** How the agent does it, which gives memory back once it has started. */
async function store(): Promise<void> {
  let first = true
  for await (const { table, changed } of openKubernetesStore(options, log).watch(signal)) {
    if (first) {
      say({ nodes: table.size })
      await releaseStartMemory()
    }
    first = false
    for (const name of changed) if (table.has(name)) noteJoin(name)
    noteSentinel(table.get('sentinel')?.subnets[0]?.publicIp)
  }
}

/** The same with whole Nodes in the watch. */
async function whole(): Promise<void> {
  const session = new Session(openApiConfig(options), defaultTiming, log)
  const names = annotationNames(prefix)
  const source = new NodeSource(session, names.all)
  const following = { source, what: 'all Nodes', depth: 'whole' } as const
  const nodes = new Map<string, object>()
  const take = (step: NodeStep) => {
    if (step.type === 'all') {
      for (const node of step.nodes) nodes.set(node.name, node)
      say({ nodes: nodes.size })
      noteSentinel(
        step.nodes.find(({ name }) => name === 'sentinel')?.annotations.get(names.families.ipv4.publicIp),
      )
    } else {
      nodes.set(step.node.name, step.node)
      if (isManaged(step.node, names)) noteJoin(step.node.name)
      if (step.node.name === 'sentinel') noteSentinel(step.node.annotations.get(names.families.ipv4.publicIp))
    }
  }
  for await (const steps of followNodes(following, signal)) steps.forEach(take)
}

follow(process.env.BENCH_WAY === 'whole' ? whole : store)
