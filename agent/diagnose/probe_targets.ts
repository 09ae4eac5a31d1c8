import { ExpectedError } from '../../lease/common/errors.ts'
import { type Family, familyOf, type Ip } from '../../lease/net/ip.ts'
import { addressAt, networkAddress } from '../../lease/net/prefix.ts'
import type { NodeView } from './node_view.ts'
import type { ProbeTarget } from './probe_result.ts'

const RELAYS = 3

/** The peer cannot be probed. */
export class ProbeTargetError extends ExpectedError {
  override name = 'ProbeTargetError'
}

/** Peers that agents program. */
export function probedPeers({ self, leases, refused }: NodeView): readonly string[] {
  if (self === undefined) throw new ProbeTargetError('This host has no lease: start twilld here first')
  return [...leases.table.keys()].filter(node => node !== self.node && !refused.has(node))
}

/** One for each family that both nodes have. Throws ProbeTargetError. */
export function probeTargets(view: NodeView, peer: string, port: number): readonly ProbeTarget[] {
  const { self, leases, backend, underlay } = view
  if (!probedPeers(view).includes(peer))
    throw new ProbeTargetError(`There is no peer '${peer}' that can be probed: twill map lists the nodes`)
  const { underlayMtu } = underlay
  const overlayMtu = backend.overlayMtu(underlay)
  return (leases.table.get(peer)?.subnets ?? []).flatMap(({ prefix, publicIp }) => {
    const own = self?.subnets.find(subnet => familyOf(subnet.prefix) === familyOf(prefix))
    if (own === undefined) return []
    const [from, overlayIp] = [networkAddress(own.prefix), networkAddress(prefix)]
    const relays = relaysTo(view, peer, familyOf(prefix))
    return [{ node: peer, publicIp, overlayIp, from, underlayMtu, overlayMtu, port, relays }]
  })
}

/**
 * Where the first pods of this node and of a peer would be, one pair for each family that both nodes have.
 */
export function podPairs({ self, leases }: NodeView, peer: string): readonly (readonly [Ip, Ip])[] {
  return (leases.table.get(peer)?.subnets ?? []).flatMap(({ prefix }) => {
    const own = self?.subnets.find(subnet => familyOf(subnet.prefix) === familyOf(prefix))
    return own === undefined ? [] : [[addressAt(own.prefix, 2), addressAt(prefix, 2)] as const]
  })
}

/** A few other peers: one is enough unless something is wrong with the ways to them too. */
function relaysTo(view: NodeView, peer: string, family: Family): ProbeTarget['relays'] {
  const others = probedPeers(view).filter(node => node !== peer)
  return others
    .flatMap(node => {
      const subnet = view.leases.table.get(node)?.subnets.find(({ prefix }) => familyOf(prefix) === family)
      return subnet === undefined ? [] : [{ node, overlayIp: networkAddress(subnet.prefix) }]
    })
    .slice(0, RELAYS)
}
