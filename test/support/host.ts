import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Family, familyOf } from '../../lease/net/ip.ts'
import { type Prefix, prefixLength } from '../../lease/net/prefix.ts'
import { Agent, type AgentOptions, healthPort } from './agent.ts'
import { type Ground, Namespace } from './namespace.ts'
import { Pod, type PodNetwork } from './pod.ts'
import type { Segment } from './segment.ts'

/** A machine: eth0 on a segment, forwarding on, a default route where the segment has a router. */
export class Host extends Namespace {
  readonly segment: Segment
  readonly pods: Pod[] = []
  readonly #ground: Ground
  #agents = 0

  private constructor(ground: Ground, name: string, segment: Segment) {
    super(ground, name, segment.nextAddresses())
    this.#ground = ground
    this.segment = segment
  }

  /** `name`: at most 15 characters, because it is also the name of a device. */
  static async create(ground: Ground, name: string, segment: Segment): Promise<Host> {
    const host = new Host(ground, name, segment)
    await segment.plugNew(host, 'eth0')
    // Duplicate address detection would keep an IPv6 address useless for a second.
    await host.sysctl({ 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1, 'ipv6/conf/eth0/accept_dad': 0 })
    const addresses = host.addresses.map((address, i) => {
      const length = prefixLength(segment.prefixes[i] as Prefix)
      return `address add ${address}/${length} dev eth0 ${familyOf(address) === 'ipv6' ? 'nodad' : ''}`
    })
    await host.ip(['link set lo up', ...addresses, 'link set eth0 up', ...defaultRoutes(segment)])
    return host
  }

  /**
   * Below /run/flannel on a real machine. One for each host, because hosts of a bed share the file system.
   */
  get subnetFile(): string {
    return join(this.directory, 'subnet.env')
  }

  /** Below /run/twill on a real machine. */
  get localSocket(): string {
    return join(this.directory, 'twilld.sock')
  }

  /** The subnet file's lines as a record. Throws where there is none yet. */
  subnetEnv(): Record<string, string> {
    const lines = readFileSync(this.subnetFile, 'utf8').trim().split('\n')
    return Object.fromEntries(lines.map(line => line.split('=', 2)))
  }

  /** Starts a real twilld on this host and waits until it is ready. */
  async startAgent(options: AgentOptions): Promise<Agent> {
    const agent = this.launchAgent(options)
    await agent.ready()
    return agent
  }

  /** As startAgent, without waiting: for agents that cannot get ready, and to start many at a time. */
  launchAgent(options: AgentOptions): Agent {
    this.#agents += 1
    return new Agent(this, `twilld-${this.#agents}`, options)
  }

  /** A pod on this host's bridge; by default its network comes from the subnet file. */
  async pod(network: PodNetwork = podNetwork(this.subnetEnv())): Promise<Pod> {
    const pod = new Pod(this.#ground, this.name, this.pods.length + 1, network)
    this.pods.push(pod)
    await pod.attach(this)
    return pod
  }

  /** What the agent answers on /readyz; status 0 while it does not listen. */
  async readyz(): Promise<{ readonly status: number; readonly body: string }> {
    return (await this.httpGet(healthPort, '/readyz')) ?? { status: 0, body: '' }
  }

  /** A metric of the agent that has no labels; NaN where there is none. */
  async metric(name: string, port = healthPort): Promise<number> {
    const text = (await this.httpGet(port, '/metrics'))?.body ?? ''
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
  }

  /** `ip route show` and `ip -6 route show`, as it prints them, without trailing blanks. */
  async routes(family: Family = 'ipv4'): Promise<string[]> {
    const output = await this.exec(['ip', family === 'ipv6' ? '-6' : '-4', 'route', 'show'])
    return output.split('\n').flatMap(line => (line.trim() === '' ? [] : [line.trim()]))
  }
}

export function defaultRoutes(segment: Segment): string[] {
  return segment.gateways.map(gateway => `route replace default via ${gateway}`)
}

/** The pod network as the CNI plugin reads it from subnet.env. The gateway has the subnet's first address. */
function podNetwork({
  FLANNEL_SUBNET,
  FLANNEL_IPV6_SUBNET,
  FLANNEL_MTU,
}: Record<string, string>): PodNetwork {
  const gateways = [FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET].filter(text => text !== undefined)
  return { gateways, mtu: Number(FLANNEL_MTU) }
}
