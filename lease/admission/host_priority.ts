import type { Subnet } from '../lease.ts'
import { contains, type Prefix } from '../net/prefix.ts'
import { type HostNetwork, type HostNetworks, isTakenBy, noHostNetworks } from './host_networks.ts'

/** A claim of this age was programmed before this process. */
export const BEFORE_START = -1

/** A network of the host that was away for longer, in ms, has become a new one. */
const FLAP_MS = 60_000
/** So many of what is alike are named. */
const NAMED = 3

/** A subnet that is programmed, and for whom. */
export interface HeldSubnet {
  readonly node: string
  readonly subnet: Subnet
}

/**
 * Whether the host's own networks or a peer that is programmed comes first: what was there first stays, except that nothing is
 * programmed over what this node itself is reached by. A peer that comes in while a network of the host flaps leaves again.
 */
export class HostPriority {
  readonly #now: () => number
  #networks: HostNetworks = noHostNetworks
  /** Networks that a claim was refused for, or that were new at a look, since when, counted as the claims' ages are. */
  readonly #seniors = new Map<Prefix, { readonly since: number; seenMs: number }>()

  /** `now` is monotonic, in ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  get networks(): HostNetworks {
    return this.#networks
  }

  /** `heard`: the age of the change that this look followed, which what is new has; a claim of a later age comes after it. */
  set(networks: HostNetworks, heard?: number): void {
    const stood = new Set(this.#networks.overlapping.map(({ prefix }) => prefix))
    for (const [prefix, senior] of this.#seniors)
      if (stood.has(prefix)) senior.seenMs = this.#now()
      else if (this.#now() - senior.seenMs > FLAP_MS) this.#seniors.delete(prefix)
    for (const { prefix } of networks.overlapping)
      if (heard !== undefined && !stood.has(prefix) && !this.#seniors.has(prefix))
        this.#seniors.set(prefix, { since: heard, seenMs: this.#now() })
    this.#networks = networks
  }

  /** The network that a claim would take from the host, which has it first. `heldSince`: the claim's age; undefined: it is not let in. */
  firstUnder(prefix: Prefix, heldSince: number | undefined, nextAge: () => number): HostNetwork | undefined {
    const wasFirst = ({ prefix, carriesNode }: HostNetwork) =>
      heldSince === undefined || carriesNode || (this.#seniors.get(prefix)?.since ?? heldSince) < heldSince
    const host = this.#networks.overlapping.find(it => isTakenBy(prefix, it) && wasFirst(it))
    if (host !== undefined && !this.#seniors.has(host.prefix))
      this.#seniors.set(host.prefix, { since: nextAge(), seenMs: this.#now() })
    return host
  }

  /** Networks whose addresses peers had first, some of them, in words. `heldUnder`: what is programmed there. */
  lostTo(heldUnder: (prefix: Prefix) => readonly HeldSubnet[]): readonly string[] {
    const named: Prefix[] = []
    const texts: string[] = []
    for (const host of this.#networks.overlapping) {
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
