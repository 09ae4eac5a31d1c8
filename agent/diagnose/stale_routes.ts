import { contains, type Prefix, prefixLength } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import type { Entry } from '../state/entry.ts'
import { BOOT_PROTOCOL } from '../state/ownership.ts'
import type { RouteFacts } from '../state/underlay_facts.ts'

/**
 * Routes that a flanneld with host-gw or DirectRouting may have left: into the network, through the external
 * interface, and to no current peer. flanneld marks them `boot`, as `ip route add` does, so an administrator
 * may have made them: they are named and left alone. They do no harm: a peer with such a subnet gets a route
 * of the same prefix and metric, which replaces them.
 */
export function staleRoutes(
  routes: readonly RouteFacts[],
  { families }: NetworkConfig,
  externalInterface: string,
  desired: ReadonlyMap<string, Entry>,
): readonly RouteFacts[] {
  const wanted = new Set<Prefix>()
  for (const entry of desired.values()) if (entry.kind === 'route') wanted.add(entry.dst)
  return routes.filter(
    ({ dst, dev, via, protocol }) =>
      dev === externalInterface &&
      protocol === BOOT_PROTOCOL &&
      via !== undefined &&
      !wanted.has(dst) &&
      families.some(({ network }) => prefixLength(dst) > prefixLength(network) && contains(network, dst)),
  )
}
