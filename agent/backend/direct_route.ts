import { type Lease, type Subnet, subnetOf } from '../../lease/lease.ts'
import { familyOf } from '../../lease/net/ip.ts'
import { contains } from '../../lease/net/prefix.ts'
import type { Route } from '../state/entry.ts'
import { defaultMetric } from '../state/kernel_defaults.ts'
import { TWILL_PROTOCOL } from '../state/ownership.ts'
import type { Underlay } from './backend.ts'

/** Whether a peer's public IP is on a network of the external interface: no gateway is between. */
export function isOnLink(peer: Subnet, underlay: Underlay): boolean {
  return underlay.onLink.some(prefix => contains(prefix, peer.publicIp))
}

/** The route that sends packets for a peer's subnet to its public IP, without a tunnel. */
export function directRoute(peer: Subnet, underlay: Underlay): Route {
  return {
    kind: 'route',
    type: 'unicast',
    dst: peer.prefix,
    via: peer.publicIp,
    dev: underlay.name,
    onlink: false,
    metric: defaultMetric[familyOf(peer.prefix)],
    protocol: TWILL_PROTOCOL,
  }
}

/** Pairs own subnets with the peer's of the same family; skips families that one of them lacks. */
export function* sharedSubnets(self: Lease, peer: Lease): Iterable<{ own: Subnet; theirs: Subnet }> {
  for (const own of self.subnets) {
    const theirs = subnetOf(peer, familyOf(own.prefix))
    if (theirs !== undefined) yield { own, theirs }
  }
}
