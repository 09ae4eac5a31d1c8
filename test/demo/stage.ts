import { type Family, familyOf } from '../../lease/net/ip.ts'
import { type Prefix, parsePrefix } from '../../lease/net/prefix.ts'
import type { Agent } from '../support/agent.ts'
import { Bed } from '../support/bed.ts'
import { mapBounded } from '../support/exec.ts'
import type { Host } from '../support/host.ts'
import type { Pod } from '../support/pod.ts'
import type { Segment } from '../support/segment.ts'
import type { DemoOptions } from './options.ts'

/** A host with an agent and a pod on it. */
export interface Node {
  readonly name: string
  readonly host: Host
  readonly agent: Agent
  readonly pod: Pod
  readonly subnets: readonly Prefix[]
}

export const etcdPrefix = '/coreos.com/network'

/** What the demo plays on: an underlay, one etcd, nodes that come and go. */
export class Stage {
  readonly bed: Bed
  readonly options: DemoOptions
  readonly nodes: Node[] = []
  readonly #segments: Segment[] = []
  #etcd: Host | undefined
  #hosts = 0

  private constructor(bed: Bed, options: DemoOptions) {
    this.bed = bed
    this.options = options
  }

  static async create(options: DemoOptions): Promise<Stage> {
    return new Stage(await Bed.create({ name: 'demo' }), options)
  }

  get segments(): readonly Segment[] {
    return this.#segments
  }

  async buildUnderlay(): Promise<void> {
    for (const [name, third] of [['a', 50] as const, ['b', 60] as const].slice(
      0,
      this.options.twoSegments ? 2 : 1,
    )) {
      const prefixes = { ipv4: `192.168.${third}.0/24`, ipv6: `fd${third}::/64` }
      this.#segments.push(
        await this.bed.segment(
          name,
          this.options.families.map(family => prefixes[family]),
        ),
      )
    }
    if (this.options.twoSegments) await this.bed.router('router', this.#segments)
    this.#etcd = await this.newHost('etcd', 0)
  }

  /** On the first segment for even `n`, on the second, if there is one, for odd. */
  newHost(name: string, n: number): Promise<Host> {
    const segment = this.#segments[n % this.#segments.length]
    if (segment === undefined) throw new Error('There is no underlay yet')
    return this.bed.host(name, segment)
  }

  get endpoint(): string {
    const address = this.etcdHost.addresses[0] ?? ''
    return `http://${familyOf(address) === 'ipv6' ? `[${address}]` : address}:2379`
  }

  get etcdHost(): Host {
    if (this.#etcd === undefined) throw new Error('There is no etcd yet')
    return this.#etcd
  }

  async startEtcd(): Promise<void> {
    const client = [`--listen-client-urls=${this.endpoint}`, `--advertise-client-urls=${this.endpoint}`]
    const data = `--data-dir=${this.etcdHost.directory}/data`
    const etcd = this.etcdHost.spawn(['etcd', ...client, '--listen-peer-urls=http://127.0.0.1:2380', data], {
      name: 'etcd',
    })
    await etcd.says(/ready to serve client requests/, 20_000)
    await this.etcdctl('put', `${etcdPrefix}/config`, JSON.stringify(this.networkConfig()))
  }

  etcdctl(...words: string[]): Promise<string> {
    return this.etcdHost.exec(this.etcdctlCommand(...words), { env: { ETCDCTL_API: '3' } })
  }

  etcdctlCommand(...words: string[]): string[] {
    return ['etcdctl', `--endpoints=${this.endpoint}`, ...words]
  }

  networkConfig(): Record<string, unknown> {
    const { backend, families, twoSegments } = this.options
    const ipv6 = { EnableIPv6: true, IPv6Network: 'fd10:244::/48' }
    return {
      ...(families.includes('ipv4') ? { Network: '10.244.0.0/16' } : { EnableIPv4: false }),
      ...(families.includes('ipv6') ? ipv6 : {}),
      Backend: { Type: backend, ...(twoSegments ? { DirectRouting: true } : {}) },
    }
  }

  /** Hosts, agents and pods of `n` more nodes; some at a time, so that they do not wait for one another's start. */
  async addNodes(n: number, onAgent: (host: Host) => void = () => {}): Promise<Node[]> {
    const first = this.#hosts
    this.#hosts += n
    const numbers = Array.from({ length: n }, (_, i) => first + i)
    const hosts = await mapBounded(numbers, 6, number => this.newHost(`node${number + 1}`, number))
    if (this.#hosts > 20) for (const segment of this.segments) await segment.pinNeighbors(this.bed.hosts)
    const added = await mapBounded(hosts, 6, async host => {
      onAgent(host)
      const agent = await host.startAgent({ endpoints: [this.endpoint] })
      return { name: host.name, host, agent, pod: await host.pod(), subnets: subnetsOf(host) }
    })
    this.nodes.push(...added)
    return added
  }

  remove(node: Node): void {
    this.nodes.splice(this.nodes.indexOf(node), 1)
  }

  /** The etcd key of a node's lease, as flannel writes it: `10.244.5.0-24`, both families with `&` between. */
  leaseKey({ subnets }: Node): string {
    const names = subnets.map(prefix => prefix.replace('/', '-'))
    const [first = ''] = names
    return `${etcdPrefix}/subnets/${familyOf(first) === 'ipv6' ? `0.0.0.0-0&${first}` : names.join('&')}`
  }

  /** `twill map` as an operator would run it on a node. */
  twillMap(...flags: string[]): Promise<string> {
    const [node] = this.nodes
    if (node === undefined) throw new Error('There is no node yet')
    return node.host.exec([
      process.execPath,
      'dist/twill.js',
      'map',
      `--etcd-endpoints=${this.endpoint}`,
      ...flags,
    ])
  }
}

function subnetsOf(host: Host): Prefix[] {
  const { FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET } = host.subnetEnv()
  return [FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET].flatMap(text =>
    text === undefined ? [] : [parsePrefix(text)],
  )
}

/** An address of the pod in each family of the network. */
export function addressesOf(pod: Pod): { family: Family; address: string }[] {
  return pod.addresses.map(address => ({ family: familyOf(address), address }))
}
