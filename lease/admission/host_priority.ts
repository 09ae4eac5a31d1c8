import type { Subnet } from '../lease.ts'
import { contains, type Prefix } from '../net/prefix.ts'
import { type HostNetwork, type HostNetworks, isTakenBy, noHostNetworks } from './host_networks.ts'

/** Age of a claim that an earlier process programmed. */
export const BEFORE_START = -1

/** A network of the host that was gone for longer than this counts as a new one. */
const FLAP_MS = 60_000
/** At most this many networks, and this many subnets of each, are named. */
const NAMED = 3

export interface HeldSubnet {
  readonly node: string
  readonly subnet: Subnet
}

/**
 * Whether the host's own network or a programmed peer takes precedence where both have the same addresses:
 * the one that was there first. Exception: a network through which this node itself is reached always takes
 * precedence. A peer that was admitted while a network of the host flapped is refused again once the network
 * is back.
 */
export class HostPriority {
  readonly #now: () => number
  networks: HostNetworks = noHostNetworks
  /** When networks that refused a claim, or came at run time, appeared: in the sequence of claims. */
  readonly #appeared = new Map<Prefix, { readonly since: number; seenMs: number }>()

  /** `now` is monotonic, in ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** `heard`: the age at which the kernel reported the change; new networks come before later claims. */
  set(networks: HostNetworks, heard?: number): void {
    const stood = new Set(this.networks.overlapping.map(({ prefix }) => prefix))
    for (const [prefix, entry] of this.#appeared)
      if (stood.has(prefix)) entry.seenMs = this.#now()
      else if (this.#now() - entry.seenMs > FLAP_MS) this.#appeared.delete(prefix)
    for (const { prefix } of networks.overlapping)
      if (heard !== undefined && !stood.has(prefix) && !this.#appeared.has(prefix))
        this.#appeared.set(prefix, { since: heard, seenMs: this.#now() })
    this.networks = networks
  }

  /** The host's network that comes before a claim of the age `heldSince`; undefined: not admitted. */
  firstUnder(prefix: Prefix, heldSince: number | undefined, nextAge: () => number): HostNetwork | undefined {
    const wasFirst = ({ prefix, carriesNode }: HostNetwork) =>
      heldSince === undefined || carriesNode || (this.#appeared.get(prefix)?.since ?? heldSince) < heldSince
    const host = this.networks.overlapping.find(it => isTakenBy(prefix, it) && wasFirst(it))
    if (host !== undefined && !this.#appeared.has(host.prefix))
      this.#appeared.set(host.prefix, { since: nextAge(), seenMs: this.#now() })
    return host
  }

  /** Networks that programmed peers come before, as sentences. `heldUnder`: subnets that overlap one. */
  lostTo(heldUnder: (prefix: Prefix) => readonly HeldSubnet[]): readonly string[] {
    const named: Prefix[] = []
    const texts: string[] = []
    for (const host of this.networks.overlapping) {
      if (texts.length >= NAMED || named.some(prefix => contains(prefix, host.prefix))) continue
      const held = heldUnder(host.prefix).filter(({ subnet }) => isTakenBy(subnet.prefix, host))
      if (held.length === 0) continue
      named.push(host.prefix)
      const subnets = held.slice(0, NAMED).map(({ node, subnet }) => `${subnet.prefix} of '${node}'`)
      const more = held.length > NAMED ? ` and ${held.length - NAMED} more` : ''
      texts.push(
        `this host has ${host.prefix}, which ${host.use}, though pods of other nodes had addresses there before (${subnets.join(', ')}${more}): ` +
          'addresses in both lead to these pods; give the host or these nodes other ones',
      )
    }
    return texts
  }
}
