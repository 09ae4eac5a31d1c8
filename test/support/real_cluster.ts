import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { ApiClient } from '../../lease/kubernetes/client/api_client.ts'
import { openApiConfig } from '../../lease/kubernetes/client/api_config.ts'
import { ApiError } from '../../lease/kubernetes/client/api_error.ts'
import type { KubernetesOptions } from '../../lease/options.ts'
import type { NodeSeed, RawNode } from './api_server_nodes.ts'
import { RecordingLog } from './log.ts'
import { baseOptions, messagesFor, type TestCluster } from './test_cluster.ts'

/** kube-controller-manager needs only some ms. */
const allocatesWithinMs = 5_000

const admin = new AbortController().signal

/** An existing cluster: the tests' Nodes get a prefix there, and are removed at the end. */
export class RealCluster implements TestCluster {
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
    this.#api = new ApiClient(this.#config, { answered: () => {} }, 30_000, new RecordingLog())
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

  async allocates(): Promise<boolean> {
    const name = 'allocates'
    await this.createNode({ name })
    const untilMs = Date.now() + allocatesWithinMs
    while (Date.now() < untilMs) {
      if ((await this.readNode(name)).spec.podCIDR !== undefined) return true
      await sleep(100)
    }
    return false
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

  /** A request of an administrator: ApiClient's types allow only an agent's requests. */
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
