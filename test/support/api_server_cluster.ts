import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ApiClient } from '../../lease/kubernetes/api_client.ts'
import { openApiConfig } from '../../lease/kubernetes/api_config.ts'
import { ApiError } from '../../lease/kubernetes/api_error.ts'
import type { KubernetesOptions } from '../../lease/options.ts'
import { ApiServer } from './api_server.ts'
import { type NodeSeed, type RawNode, writeAnnotations } from './api_server_nodes.ts'

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
  readNode(node: string): Promise<RawNode>
  /** Messages of the Warning events on a Node. */
  warnings(node: string): Promise<readonly string[]>
  /** Removes what was made. */
  close(): Promise<void>
}

/** net-conf.json for 10.244.0.0/16, unless another text is given. */
export const defaultNetwork = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'

/**
 * A real cluster where TWILL_TEST_KUBECONFIG names an administrator's kubeconfig, the test API server elsewhere. Stores
 * then use TWILL_TEST_AGENT_KUBECONFIG, if there is one: an agent with the rights of its ClusterRole and no more. A cluster
 * older than 1.21 needs its feature gate IPv6DualStack, or it drops the second podCIDR.
 */
export async function openTestCluster(network = defaultNetwork): Promise<TestCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'twill-cluster-'))
  const networkConfigFile = join(folder, 'net-conf.json')
  writeFileSync(networkConfigFile, network)
  const real = process.env.TWILL_TEST_KUBECONFIG
  if (real) return new RealCluster(real, folder, networkConfigFile)
  return new FakeCluster(await new ApiServer().start(), folder, networkConfigFile)
}

function baseOptions(nodeName: string, kubeconfigFile: string, networkConfigFile: string): KubernetesOptions {
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

export class FakeCluster implements TestCluster {
  readonly server: ApiServer
  readonly folder: string
  readonly #networkConfigFile: string

  constructor(server: ApiServer, folder: string, networkConfigFile: string) {
    this.server = server
    this.folder = folder
    this.#networkConfigFile = networkConfigFile
  }

  static async open(network = defaultNetwork): Promise<FakeCluster> {
    const folder = mkdtempSync(join(tmpdir(), 'twill-cluster-'))
    writeFileSync(join(folder, 'net-conf.json'), network)
    return new FakeCluster(await new ApiServer().start(), folder, join(folder, 'net-conf.json'))
  }

  options(node: string, more: Partial<KubernetesOptions> = {}): KubernetesOptions {
    const kubeconfig = this.server.writeKubeconfig(join(this.folder, 'kubeconfig'))
    return { ...baseOptions(node, kubeconfig, this.#networkConfigFile), ...more }
  }

  nodeName(node: string): string {
    return node
  }

  async createNode(seed: NodeSeed): Promise<void> {
    this.server.storage.create(seed)
  }

  async deleteNode(node: string): Promise<void> {
    this.server.storage.delete(node)
  }

  async annotate(node: string, annotations: Readonly<Record<string, string | null>>): Promise<void> {
    this.server.storage.update(node, raw => writeAnnotations(raw, 'kubectl-annotate', annotations))
  }

  async assignPodCidrs(node: string, podCidrs: readonly string[]): Promise<void> {
    this.server.storage.update(node, raw => {
      raw.spec = { podCIDRs: [...podCidrs] }
      if (podCidrs[0] !== undefined) raw.spec.podCIDR = podCidrs[0]
    })
  }

  async readNode(node: string): Promise<RawNode> {
    const stored = this.server.storage.nodes.get(node)
    if (stored === undefined) throw new Error(`There is no Node ${node}`)
    return stored.raw
  }

  async warnings(node: string): Promise<readonly string[]> {
    return messagesFor(this.server.events, node)
  }

  async close(): Promise<void> {
    await this.server.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

const admin = new AbortController().signal

class RealCluster implements TestCluster {
  readonly #prefix = `twill-${process.pid}-${Math.random().toString(36).slice(2, 8)}-`
  readonly #kubeconfigFile: string
  readonly #networkConfigFile: string
  readonly #folder: string
  readonly #config: ReturnType<typeof openApiConfig>
  readonly #api: ApiClient
  readonly #made = new Set<string>()

  constructor(kubeconfigFile: string, folder: string, networkConfigFile: string) {
    this.#kubeconfigFile = kubeconfigFile
    this.#networkConfigFile = networkConfigFile
    this.#folder = folder
    this.#config = openApiConfig({ apiUrl: undefined, kubeconfigFile })
    this.#api = new ApiClient(this.#config, { answered: () => {} }, 30_000)
  }

  options(node: string, more: Partial<KubernetesOptions> = {}): KubernetesOptions {
    const kubeconfigFile = process.env.TWILL_TEST_AGENT_KUBECONFIG ?? this.#kubeconfigFile
    return { ...baseOptions(this.nodeName(node), kubeconfigFile, this.#networkConfigFile), ...more }
  }

  nodeName(node: string): string {
    return this.#prefix + node
  }

  async createNode({ name, podCidrs = [], annotations = {} }: NodeSeed): Promise<void> {
    this.#made.add(name)
    const [podCIDR] = podCidrs
    const spec = podCIDR === undefined ? {} : { podCIDR, podCIDRs: podCidrs }
    const metadata = { name: this.nodeName(name), annotations }
    await this.#send('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata, spec })
  }

  async deleteNode(node: string): Promise<void> {
    this.#made.delete(node)
    await this.#send('DELETE', this.#path(node))
  }

  async annotate(node: string, annotations: Readonly<Record<string, string | null>>): Promise<void> {
    await this.#send('PATCH', this.#path(node), { metadata: { annotations } })
  }

  async assignPodCidrs(node: string, podCidrs: readonly string[]): Promise<void> {
    await this.#send('PATCH', this.#path(node), { spec: { podCIDR: podCidrs[0], podCIDRs: podCidrs } })
  }

  async readNode(node: string): Promise<RawNode> {
    const raw = (await this.#send('GET', this.#path(node))) as RawNode
    raw.metadata.annotations ??= {}
    return raw
  }

  async warnings(node: string): Promise<readonly string[]> {
    const list = (await this.#send('GET', '/api/v1/namespaces/default/events')) as {
      items: Record<string, unknown>[]
    }
    return messagesFor(list.items, this.nodeName(node))
  }

  async close(): Promise<void> {
    for (const node of this.#made) {
      await this.deleteNode(node).catch((error: unknown) => {
        if (!(error instanceof ApiError && error.status === 404)) throw error
      })
    }
    this.#config.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #path(node: string): string {
    return `/api/v1/nodes/${this.nodeName(node)}`
  }

  /** The client's own methods are those that an agent needs; an administrator has more. */
  async #send(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<unknown> {
    const action = { verb: 'get', resource: `nodes (${method})` } as const
    const what = { action, method: method as 'GET', path, body, contentType: contentTypes[method] }
    return await this.#api.json(what, admin)
  }
}

const contentTypes = {
  GET: 'application/json',
  POST: 'application/json',
  PATCH: 'application/strategic-merge-patch+json',
  DELETE: 'application/json',
}

function messagesFor(events: readonly Record<string, unknown>[], node: string): readonly string[] {
  return events
    .filter(event => (event.involvedObject as { name?: string } | undefined)?.name === node)
    .filter(event => event.type === 'Warning')
    .map(event => String(event.message))
}
