import type { Ip } from '../../lease/net/ip.ts'
import { addressAt, type Prefix, parsePrefix } from '../../lease/net/prefix.ts'
import { run } from './exec.ts'
import { type Ground, Namespace } from './namespace.ts'

/** A namespace with a port on a segment; the port's device bears its name. */
export interface Plugged {
  readonly name: string
}

/** An Ethernet segment: one bridge in a namespace of its own, a port for each host. */
export class Segment extends Namespace {
  readonly prefixes: readonly Prefix[]
  readonly mtu: number
  /** A router's addresses on this segment; empty where there is none. */
  gateways: readonly Ip[] = []
  readonly #cuts = new Set<string>()
  readonly #plugs: { namespace: Namespace; device: string; mac: string }[] = []
  #hosts = 0

  private constructor(ground: Ground, name: string, prefixes: readonly Prefix[], mtu: number) {
    super(ground, name)
    this.prefixes = prefixes
    this.mtu = mtu
  }

  /** `prefixes`: at most one a family, as text. `mtu`: of the bridge and of all that is plugged in. */
  static async create(
    ground: Ground,
    name: string,
    prefixes: readonly string[],
    mtu = 1500,
  ): Promise<Segment> {
    const segment = new Segment(ground, name, prefixes.map(parsePrefix), mtu)
    await run(['ip', '-batch', '-'], {
      input: `netns add ${segment.netns}\nlink add br0 mtu ${mtu} netns ${segment.netns} type bridge\n`,
    })
    await segment.ip(['link set lo up', 'link set br0 up'])
    return segment
  }

  /** The first address of each prefix, for a router. */
  get routerAddresses(): Ip[] {
    return this.prefixes.map(prefix => addressAt(prefix, 1))
  }

  /** Addresses for the next host, one in each prefix: .11, .12, and so on. */
  nextAddresses(): Ip[] {
    this.#hosts += 1
    return this.prefixes.map(prefix => addressAt(prefix, 10 + this.#hosts))
  }

  /** Makes a namespace and plugs in a device of it, still down. */
  async plugNew(namespace: Namespace, device: string): Promise<void> {
    await run(['ip', '-batch', '-'], {
      input: `netns add ${namespace.netns}\n${this.#cable(namespace, device)}`,
    })
    await this.replug(namespace)
  }

  /** Plugs in one more device of an existing namespace. */
  async plug(namespace: Namespace, device: string): Promise<void> {
    await run(['ip', '-batch', '-'], { input: this.#cable(namespace, device) })
    await this.replug(namespace)
  }

  #cable(namespace: Namespace, device: string): string {
    const { netns, name } = namespace
    plugged += 1
    // Indexes start at 1001, so that a device never has its peer's index: the kernel would not treat it as
    // virtual, and its carrier could come a second late (linkwatch_urgent_event in net/core/link_watch.c).
    const mac = `02:00:00:00:${hexByte(plugged >> 8)}:${hexByte(plugged & 0xff)}`
    this.#plugs.push({ namespace, device, mac })
    const end = `index ${1000 + plugged} address ${mac} mtu ${this.mtu} netns ${netns}`
    return `link add ${device} ${end} type veth peer name ${name} mtu ${this.mtu} netns ${this.netns}\n`
  }

  /**
   * Gives every host permanent neighbor entries for all others. The kernel keeps about a thousand learnt
   * neighbors (gc_thresh3), counted over all namespaces together: some thirty hosts that all talk to each
   * other need more.
   */
  async pinNeighbors(hosts: readonly Namespace[]): Promise<void> {
    const known = this.#plugs.flatMap(({ namespace, mac }) =>
      namespace.addresses.map(address => `neigh replace ${address} lladdr ${mac} nud permanent dev`),
    )
    const own = this.#plugs.filter(({ namespace }) => hosts.includes(namespace))
    await Promise.all(
      own.map(({ namespace, device }) => namespace.ip(known.map(line => `${line} ${device}`))),
    )
  }

  /** Takes the carrier away, like a pulled cable. */
  async unplug(host: Plugged): Promise<void> {
    await this.ip([`link set ${host.name} down`])
  }

  async replug(host: Plugged): Promise<void> {
    await this.ip([`link set ${host.name} master br0 up`])
  }

  /**
   * A partition that no interface shows: drops all packets between the two hosts, or between one host and all
   * others.
   */
  async cut(host: Plugged, other?: Plugged): Promise<void> {
    this.#cuts.add(rule(host, other)).add(rule(other, host))
    await this.#applyCuts()
  }

  /** Drops packets in one direction only. */
  async cutOneWay(from: Plugged | undefined, to: Plugged | undefined): Promise<void> {
    this.#cuts.add(rule(from, to))
    await this.#applyCuts()
  }

  /** Removes all cuts. */
  async heal(): Promise<void> {
    this.#cuts.clear()
    await this.#applyCuts()
  }

  async #applyCuts(): Promise<void> {
    const chain = 'add chain bridge cut forward { type filter hook forward priority 0; }'
    const rules = Array.from(this.#cuts, rule => `add rule bridge cut forward ${rule}`)
    const input = [
      'add table bridge cut',
      'delete table bridge cut',
      'add table bridge cut',
      chain,
      ...rules,
    ].join('\n')
    await this.exec(['nft', '-f', '-'], { input })
  }
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, '0')
}

/** Number of devices plugged into any segment: no namespace can have an index twice. */
let plugged = 0

function rule(from: Plugged | undefined, to: Plugged | undefined): string {
  const input = from === undefined ? '' : `iifname "${from.name}" `
  return `${input}${to === undefined ? '' : `oifname "${to.name}" `}drop`
}
