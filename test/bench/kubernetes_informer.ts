import { CoreV1Api, KubeConfig, makeInformer, type V1Node } from '@kubernetes/client-node'
import { agentV8Flags, setV8Flags } from '../../agent/runtime/v8_flags.ts'
import { follow, kubeconfigFile, noteSentinel, prefix, say } from './kubernetes_output.ts'

/** What the client library offers to follow the Nodes; a program of its own, so that no other one loads all of the library. */

setV8Flags(agentV8Flags)

follow(async () => {
  const config = new KubeConfig()
  config.loadFromFile(kubeconfigFile)
  const api = config.makeApiClient(CoreV1Api)
  const all = makeInformer(config, '/api/v1/nodes', () => api.listNode())
  const sentinelOf = (node: V1Node) => node.metadata?.annotations?.[`${prefix}/public-ip`]
  all.on('change', node => {
    if (node.metadata?.name === 'sentinel') noteSentinel(sentinelOf(node))
  })
  await all.start()
  say({ nodes: all.list().length })
})
