import { familyOf } from '../../lease/net/ip.ts'
import { type Prefix, prefixLength } from '../../lease/net/prefix.ts'
import { type Ground, Namespace } from './namespace.ts'
import type { Segment } from './segment.ts'

/**
 * A router between segments: eth0 on the first, eth1 on the second, and so on, always with a segment's first
 * address.
 */
export class Router extends Namespace {
  static async create(ground: Ground, name: string, segments: readonly Segment[]): Promise<Router> {
    const router = new Router(ground, name)
    for (const [i, segment] of segments.entries()) await router.#join(segment, `eth${i}`, i === 0)
    await router.sysctl({ 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1 })
    return router
  }

  async #join(segment: Segment, device: string, first: boolean): Promise<void> {
    if (first) await segment.plugNew(this, device)
    else await segment.plug(this, device)
    await this.sysctl({ [`ipv6/conf/${device}/accept_dad`]: 0 })
    const addresses = segment.routerAddresses.map((address, i) => {
      const length = prefixLength(segment.prefixes[i] as Prefix)
      return `address add ${address}/${length} dev ${device} ${familyOf(address) === 'ipv6' ? 'nodad' : ''}`
    })
    await this.ip(['link set lo up', ...addresses, `link set ${device} up`])
    segment.gateways = segment.routerAddresses
  }
}
