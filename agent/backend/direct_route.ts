import type { Lease, Subnet } from '../../lease/lease.ts'
import { familyOf } from '../../lease/net/ip.ts'
import { contains } from '../../lease/net/prefix.ts'
import type { Route } from '../state/entry.ts'
import { TWILL_PROTOCOL } from '../state/ownership.ts'
import type { Underlay } from './backend.ts'

/** Whether a peer's public IP is on a network of our external interface, so that no gateway stands between us. */
export function isOnLink(peer: Subnet, underlay: Underlay): boolean {
  return underlay.onLink.some(prefix => contains(prefix, peer.publicIp))
}

/** The route that sends a peer's packets to its public IP as they are. */
export function directRoute(peer: Subnet, underlay: Underlay): Route {
  return {
    kind: 'route',
    type: 'unicast',
    dst: peer.prefix,
    via: peer.publicIp,
    dev: underlay.name,
    onlink: false,
    metric: defaultMetric(peer),
    protocol: TWILL_PROTOCOL,
  }
}

/** IP6_RT_PRIO_USER: the metric that the kernel gives an IPv6 route that asks for none. */
export function defaultMetric(subnet: Subnet): number {
  return { ipv4: 0, ipv6: 1024 }[familyOf(subnet.prefix)]
}

/** A peer's subnet paired with our own of the same family; families that only one of both has are left out. */
export function* sharedSubnets(self: Lease, peer: Lease): Iterable<{ own: Subnet; theirs: Subnet }> {
  for (const own of self.subnets) {
    const theirs = peer.subnets.find(subnet => familyOf(subnet.prefix) === familyOf(own.prefix))
    if (theirs !== undefined) yield { own, theirs }
  }
}
