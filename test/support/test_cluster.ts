import type { KubernetesOptions } from '../../lease/options.ts'
import type { NodeSeed, RawNode } from './api_server_nodes.ts'

/** A cluster to test against, as its administrator sees it. Node names are those of the tests, whatever it calls them. */
export interface TestCluster {
  /** Options of a store on that Node of the cluster. */
  options(node: string, more?: Partial<KubernetesOptions>): KubernetesOptions
  /** What the cluster calls it: prefixed where it is a real one. */
  nodeName(node: string): string
  createNode(seed: NodeSeed): Promise<void>
  deleteNode(node: string): Promise<void>
  /** Null removes. */
  annotate(node: string, annotations: Readonly<Record<string, string | null>>): Promise<void>
  /** As kube-controller-manager does it, late. */
  assignPodCidrs(node: string, podCidrs: readonly string[]): Promise<void>
  /** Whether it assigns podCIDRs itself, as kube-controller-manager does with --allocate-node-cidrs. */
  allocates(): Promise<boolean>
  readNode(node: string): Promise<RawNode>
  /** Messages of the Warning events on a Node. */
  warnings(node: string): Promise<readonly string[]>
  /** Removes what was made. */
  close(): Promise<void>
}

export function baseOptions(
  nodeName: string,
  kubeconfigFile: string,
  networkConfigFile: string,
): KubernetesOptions {
  return {
    kind: 'kubernetes',
    nodeName,
    podName: undefined,
    podNamespace: undefined,
    apiUrl: undefined,
    kubeconfigFile,
    annotationPrefix: 'flannel.alpha.coreos.com',
    networkConfigFile,
    setNodeNetworkUnavailable: true,
    cacheFile: undefined,
  }
}

export function messagesFor(events: readonly Record<string, unknown>[], node: string): readonly string[] {
  return events
    .filter(event => (event.involvedObject as { name?: string } | undefined)?.name === node)
    .filter(event => event.type === 'Warning')
    .map(event => String(event.message))
}
