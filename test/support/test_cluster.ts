import type { KubernetesOptions } from '../../lease/options.ts'
import type { NodeSeed, RawNode } from './api_server_nodes.ts'

/**
 * A test's cluster, as its administrator sees it. Node names are those of the tests, whatever names the
 * cluster has.
 */
export interface TestCluster {
  /** Options of a store on that Node. */
  options(node: string, more?: Partial<KubernetesOptions>): KubernetesOptions
  /** The Node's name in the cluster: prefixed in a real one. */
  nodeName(node: string): string
  createNode(seed: NodeSeed): Promise<void>
  deleteNode(node: string): Promise<void>
  /** Null removes an annotation. */
  annotate(node: string, annotations: Readonly<Record<string, string | null>>): Promise<void>
  /** Assigns podCIDRs as kube-controller-manager does, later than the Node was created. */
  assignPodCidrs(node: string, podCidrs: readonly string[]): Promise<void>
  /** Whether it assigns podCIDRs itself, as kube-controller-manager does with --allocate-node-cidrs. */
  allocates(): Promise<boolean>
  readNode(node: string): Promise<RawNode>
  /** Messages of the Warning events on a Node. */
  warnings(node: string): Promise<readonly string[]>
  /** Removes all that the tests made. */
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
