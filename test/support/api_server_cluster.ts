import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { KubernetesOptions } from '../../lease/options.ts'
import { ApiServer } from './api_server.ts'
import { type NodeSeed, type RawNode, writeAnnotations } from './api_server_nodes.ts'
import { RealCluster } from './real_cluster.ts'
import { baseOptions, messagesFor, type TestCluster } from './test_cluster.ts'

/** The default net-conf.json. */
export const defaultNetwork = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'

/**
 * Opens a real cluster where TWILL_TEST_KUBECONFIG names an administrator's kubeconfig, otherwise the test
 * API server. Stores then use TWILL_TEST_AGENT_KUBECONFIG if it is set: an agent with only the rights of its
 * ClusterRole. A cluster older than 1.21 needs the feature gate IPv6DualStack, otherwise it drops the second
 * podCIDR. With TWILL_TEST_ALLOCATES the test cluster assigns podCIDRs.
 */
export async function openTestCluster(network = defaultNetwork): Promise<TestCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'twill-cluster-'))
  const networkConfigFile = join(folder, 'net-conf.json')
  writeFileSync(networkConfigFile, network)
  const real = process.env.TWILL_TEST_KUBECONFIG
  if (real) return new RealCluster(real, folder, networkConfigFile)
  const server = await new ApiServer().start()
  const clusterCidrs = process.env.TWILL_TEST_ALLOCATES ? cidrsOf(network) : []
  return new FakeCluster(server, folder, networkConfigFile, clusterCidrs)
}

/** The value of kube-controller-manager's --cluster-cidr that fits this net-conf.json. */
function cidrsOf(network: string): readonly string[] {
  const { Network, IPv6Network } = JSON.parse(network) as Record<string, string | undefined>
  return [Network, IPv6Network].filter(cidr => cidr !== undefined)
}

/** The n-th subnet of a /16 or /48: `10.244.200.0/24`, `fd00:12:0:200::/64`. */
function subnetOf(clusterCidr: string, n: number): string {
  return clusterCidr.includes(':')
    ? clusterCidr.replace(/::.*/, `:0:${n}::/64`)
    : clusterCidr.replace(/\.0\.0\/.*/, `.${n}.0/24`)
}

export class FakeCluster implements TestCluster {
  readonly server: ApiServer
  readonly folder: string
  readonly #networkConfigFile: string
  readonly #clusterCidrs: readonly string[]
  /** Starts above the subnets that tests give their Nodes. */
  #nextSubnet = 200

  /**
   * Gives each Node without podCIDRs some from `clusterCidrs`, as kube-controller-manager does; empty:
   * assigns none.
   */
  constructor(
    server: ApiServer,
    folder: string,
    networkConfigFile: string,
    clusterCidrs: readonly string[] = [],
  ) {
    this.server = server
    this.folder = folder
    this.#networkConfigFile = networkConfigFile
    this.#clusterCidrs = clusterCidrs
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
    const { nodes } = this.server.storage
    if (this.#clusterCidrs.length > 0) setTimeout(() => this.#allocate(nodes.get(seed.name)?.raw), 5)
  }

  /** Assigns podCIDRs to this very Node; a newer Node of the same name gets its own. */
  #allocate(node: RawNode | undefined): void {
    if (node === undefined || node.spec.podCIDR !== undefined) return
    const n = this.#nextSubnet++
    this.#assign(
      node.metadata.name,
      this.#clusterCidrs.map(cidr => subnetOf(cidr, n)),
    )
  }

  #assign(node: string, podCidrs: readonly string[]): void {
    this.server.storage.update(node, raw => {
      raw.spec = { podCIDRs: [...podCidrs] }
      if (podCidrs[0] !== undefined) raw.spec.podCIDR = podCidrs[0]
    })
  }

  async deleteNode(node: string): Promise<void> {
    this.server.storage.delete(node)
  }

  async annotate(node: string, annotations: Readonly<Record<string, string | null>>): Promise<void> {
    this.server.storage.update(node, raw => writeAnnotations(raw, 'kubectl-annotate', annotations))
  }

  async assignPodCidrs(node: string, podCidrs: readonly string[]): Promise<void> {
    this.#assign(node, podCidrs)
  }

  async allocates(): Promise<boolean> {
    return this.#clusterCidrs.length > 0
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
