import type { Lease } from '../../lease/lease.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import type { Entry } from '../state/entry.ts'
import { type Backend, PeerRefusedError, type Underlay } from './backend.ts'
import { directRoute, isOnLink, sharedSubnets } from './direct_route.ts'

/** No tunnel: each peer's subnet is routed via its public IP, so all nodes must share a network. */
export function hostGw(network: NetworkConfig): Backend {
  return {
    type: 'host-gw',
    devices: [],
    overlayMtu: underlay => underlay.underlayMtu,
    // flanneld publishes no backend data for host-gw.
    publish: () => network.families.map(() => undefined),
    publishedMacs: () => network.families.map(() => undefined),
    ownEntries: () => [],
    peerEntries,
  }
}

function peerEntries(self: Lease, peer: Lease, underlay: Underlay): readonly Entry[] {
  if (peer.backendType !== 'host-gw')
    throw new PeerRefusedError(`its backend is '${peer.backendType}', the network's is 'host-gw'`)
  return Array.from(sharedSubnets(self, peer), ({ theirs }) => {
    if (isOnLink(theirs, underlay)) return directRoute(theirs, underlay)
    throw new PeerRefusedError(
      `its public IP ${theirs.publicIp} is on no network of ${underlay.name} (${underlay.onLink.join(', ')}): host-gw has no tunnel; use the vxlan backend, with DirectRouting for peers that are near`,
    )
  })
}
