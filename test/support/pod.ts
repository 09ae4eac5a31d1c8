import { familyOf } from '../../lease/net/ip.ts'
import { addressAt, parsePrefix, prefixLength } from '../../lease/net/prefix.ts'
import { run } from './exec.ts'
import { type Ground, Namespace } from './namespace.ts'

/** The network of a pod. */
export interface PodNetwork {
  /** The bridge's address with its length, one a family: `10.244.1.1/24`. */
  readonly gateways: readonly string[]
  readonly mtu: number
}

/** A pod: a namespace behind its host's cni0, as the CNI bridge plugin makes it. */
export class Pod extends Namespace {
  readonly host: string
  readonly network: PodNetwork
  readonly #index: number

  /** `index`: 1 for a host's first pod, which has its subnet's second address. */
  constructor(ground: Ground, host: string, index: number, network: PodNetwork) {
    const addresses = network.gateways.map(gateway => addressAt(parsePrefix(gateway), 1 + index))
    super(ground, `${host}-pod${index}`, addresses)
    this.host = host
    this.network = network
    this.#index = index
  }

  async attach(host: Namespace): Promise<void> {
    const { gateways, mtu } = this.network
    const port = `pod${this.#index}`
    // The device needs another index than its peer: see Segment.
    const pair = `link add eth0 index 1001 mtu ${mtu} netns ${this.netns} type veth peer name ${port} mtu ${mtu} netns ${host.netns}`
    await run(['ip', '-batch', '-'], { input: `netns add ${this.netns}\n${pair}\n` })
    if (this.#index === 1) await addBridge(host, gateways)
    await host.ip([`link set ${port} master cni0 up`, `link set cni0 mtu ${mtu} up`])
    const addresses = gateways.flatMap((gateway, i) => [
      `address add ${this.addresses[i]}/${prefixLength(parsePrefix(gateway))} dev eth0 ${nodad(gateway)}`,
    ])
    const routes = gateways.map(gateway => `route add default via ${gateway.slice(0, gateway.indexOf('/'))}`)
    await this.sysctl({ 'ipv6/conf/eth0/accept_dad': 0 })
    await this.ip(['link set lo up', ...addresses, 'link set eth0 up', ...routes])
  }
}

async function addBridge(host: Namespace, gateways: readonly string[]): Promise<void> {
  const addresses = gateways.map(gateway => `address add ${gateway} dev cni0 ${nodad(gateway)}`)
  await host.ip(['link add cni0 type bridge', ...addresses])
  // Also for its link-local address, which a forwarding host uses in neighbor solicitations.
  await host.sysctl({ 'ipv6/conf/cni0/accept_dad': 0 })
}

/** Duplicate address detection would keep an IPv6 address useless for a second. */
function nodad(address: string): string {
  return familyOf(address) === 'ipv6' ? 'nodad' : ''
}
