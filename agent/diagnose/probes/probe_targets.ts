import { isIP } from 'node:net'
import { ExpectedError } from '../../../lease/common/errors.ts'
import { subnetOf } from '../../../lease/lease.ts'
import { type Family, familyOf, type Ip, parseIp } from '../../../lease/net/ip.ts'
import { addressAt, contains, networkAddress } from '../../../lease/net/prefix.ts'
import type { NodeView } from '../node_view.ts'
import { wantedDevice } from '../trace/device_hops.ts'
import type { ProbeTarget } from './probe_result.ts'

const RELAYS = 3

export class ProbeTargetError extends ExpectedError {
  override name = 'ProbeTargetError'
}

/**
 * Peers with a tunnel to this host: without one, nothing has an address to ask from. Throws ProbeTargetError.
 */
export function probedPeers({ self, leases, refused, backend }: NodeView): readonly string[] {
  if (backend.devices.length === 0)
    throw new ProbeTargetError(
      `A ${backend.type} network has no tunnel to probe: ping the peer's public IP, and see twill trace`,
    )
  if (self === undefined) throw new ProbeTargetError('This host has no lease: start twilld here first')
  return [...leases.table.keys()].filter(node => node !== self.node && !refused.has(node))
}

/** One for each family of both nodes; `word`: a peer's name, its public IP or an address in its subnet. */
export function probeTargets(view: NodeView, word: string, port: number): readonly ProbeTarget[] {
  const { self, leases, backend, underlay } = view
  const peer = peerNamed(view, word)
  const { underlayMtu } = underlay
  const overlayMtu = backend.overlayMtu(underlay)
  return (leases.table.get(peer)?.subnets ?? []).flatMap(({ prefix, publicIp }) => {
    const own = subnetOf(self, familyOf(prefix))
    if (self === undefined || own === undefined) return []
    const [from, overlayIp] = [networkAddress(own.prefix), networkAddress(prefix)]
    const device = wantedDevice({ backend, self, underlay, to: overlayIp })?.name ?? ''
    const relays = relaysTo(view, peer, familyOf(prefix))
    return [{ node: peer, device, publicIp, overlayIp, from, underlayMtu, overlayMtu, port, relays }]
  })
}

function peerNamed(view: NodeView, word: string): string {
  const peers = probedPeers(view)
  if (peers.includes(word)) return word
  const ip = isIP(word) === 0 ? undefined : parseIp(word)
  const names = (node: string) =>
    (view.leases.table.get(node)?.subnets ?? []).some(
      ({ prefix, publicIp }) => ip !== undefined && (publicIp === ip || contains(prefix, ip)),
    )
  const peer = peers.find(names)
  if (peer !== undefined) return peer
  const isSelf = view.self !== undefined && (view.self.node === word || names(view.self.node))
  const why = isSelf ? `'${word}' is this host itself` : `There is no peer '${word}' that can be probed`
  throw new ProbeTargetError(`${why}: twill map lists the nodes`)
}

/** Where the first pods of this node and of a peer would be, a pair for each family of both. */
export function podPairs({ self, leases }: NodeView, peer: string): readonly (readonly [Ip, Ip])[] {
  return (leases.table.get(peer)?.subnets ?? []).flatMap(({ prefix }) => {
    const own = subnetOf(self, familyOf(prefix))
    return own === undefined ? [] : [[addressAt(own.prefix, 2), addressAt(prefix, 2)] as const]
  })
}

/** A few other peers: one is enough unless something is wrong with the ways to them too. */
function relaysTo(view: NodeView, peer: string, family: Family): ProbeTarget['relays'] {
  const relays = probedPeers(view).flatMap(node => {
    const subnet = node === peer ? undefined : subnetOf(view.leases.table.get(node), family)
    return subnet === undefined ? [] : [{ node, overlayIp: networkAddress(subnet.prefix) }]
  })
  return relays.slice(0, RELAYS)
}
