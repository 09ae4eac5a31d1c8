import type { Ip } from '../../lease/net/ip.ts'
import { addressAt, type Prefix, parsePrefix } from '../../lease/net/prefix.ts'
import { run } from './exec.ts'
import { type Ground, Namespace } from './namespace.ts'

/** Anything with a port on a segment: the port's device bears its name. */
export interface Plugged {
  readonly name: string
}

/** An Ethernet segment: one bridge in a namespace of its own, a port for each host. */
export class Segment extends Namespace {
  readonly prefixes: readonly Prefix[]
  readonly mtu: number
  /** A router's addresses here; empty where there is none. */
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

  /** The first address of each prefix: where a router sits. */
  get routerAddresses(): Ip[] {
    return this.prefixes.map(prefix => addressAt(prefix, 1))
  }

  /** Addresses for one more host, one a prefix: .11, .12, and so on. */
  nextAddresses(): Ip[] {
    this.#hosts += 1
    return this.prefixes.map(prefix => addressAt(prefix, 10 + this.#hosts))
  }

  /** Plugs in a device, down still, of a namespace that is made for it. */
  async plugNew(namespace: Namespace, device: string): Promise<void> {
    await run(['ip', '-batch', '-'], {
      input: `netns add ${namespace.netns}\n${this.#cable(namespace, device)}`,
    })
    await this.replug(namespace)
  }

  /** Plugs in one more device of a namespace that is there. */
  async plug(namespace: Namespace, device: string): Promise<void> {
    await run(['ip', '-batch', '-'], { input: this.#cable(namespace, device) })
    await this.replug(namespace)
  }

  #cable(namespace: Namespace, device: string): string {
    const { netns, name } = namespace
    plugged += 1
    // Where a device and its peer have the same index, the kernel takes it for no virtual one, and its carrier may come a
    // second late (linkwatch_urgent_event in net/core/link_watch.c): what is plugged in counts from 1001.
    const mac = `02:00:00:00:${hexByte(plugged >> 8)}:${hexByte(plugged & 0xff)}`
    this.#plugs.push({ namespace, device, mac })
    const end = `index ${1000 + plugged} address ${mac} mtu ${this.mtu} netns ${netns}`
    return `link add ${device} ${end} type veth peer name ${name} mtu ${this.mtu} netns ${this.netns}\n`
  }

  /**
   * Tells every host every other's MAC for good. The kernel keeps about a thousand neighbors that it has learnt
   * (gc_thresh3), counted over all namespaces together: some thirty hosts that all talk to one another know too many.
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

  /** Takes the carrier away, as a pulled cable does. */
  async unplug(host: Plugged): Promise<void> {
    await this.ip([`link set ${host.name} down`])
  }

  async replug(host: Plugged): Promise<void> {
    await this.ip([`link set ${host.name} master br0 up`])
  }

  /** Partition that no interface shows: drops all that goes between the two, or between one and everybody. */
  async cut(host: Plugged, other?: Plugged): Promise<void> {
    this.#cuts.add(rule(host, other)).add(rule(other, host))
    await this.#applyCuts()
  }

  /** Drops what goes one way only. */
  async cutOneWay(from: Plugged | undefined, to: Plugged | undefined): Promise<void> {
    this.#cuts.add(rule(from, to))
    await this.#applyCuts()
  }

  /** Takes back every cut. */
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

/** How many devices were plugged in, anywhere: no namespace can have an index twice. */
let plugged = 0

function rule(from: Plugged | undefined, to: Plugged | undefined): string {
  const input = from === undefined ? '' : `iifname "${from.name}" `
  return `${input}${to === undefined ? '' : `oifname "${to.name}" `}drop`
}
