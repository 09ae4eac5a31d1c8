import { holds, type Lease } from '../../../lease/lease.ts'
import type { Ip } from '../../../lease/net/ip.ts'
import { contains } from '../../../lease/net/prefix.ts'
import { PeerRefusedError } from '../../backend/backend.ts'
import type { Entry } from '../../state/entry.ts'
import { type HostFacts, isBlind } from '../host_facts.ts'
import { deviceHop, mtuHop } from './device_hops.ts'
import { inputHop, judgeHop, markOf, verdictChains } from './firewall_hops.ts'
import type { Hop } from './hop.ts'
import { fdbHop, neighborHop, overlayRouteHop } from './overlay_hops.ts'
import { answerRouteHop, forwardingHop, podRouteHop, reversePathHop } from './pod_hops.ts'
import {
  ownAddressHop,
  underlayNeighborHop,
  underlayReversePathHop,
  underlayRouteHop,
} from './underlay_hops.ts'
import type { TraceInput, Walk } from './walk.ts'

/** Every hop of one packet on this host, in the order of the packet. */
export interface Trace {
  readonly from: Ip
  readonly to: Ip
  /** The node that owns `to`; null if no lease covers it. */
  readonly peer: string | null
  readonly hops: readonly Hop[]
  /** The first broken hop, on the way back too; null if every hop that could be read is right. */
  readonly broken: Hop | null
  readonly unseen: readonly string[]
  /** Null if the packet stays on this host, or breaks on it. */
  readonly back: WayBack | null
}

/** Hops of the packet's answer on the other host. */
export interface WayBack {
  /** The node that passed the question on; null if the other host was asked directly. */
  readonly via: string | null
  readonly hops: readonly Hop[]
  readonly unseen: readonly string[]
  readonly silent: string | null
}

/** One packet from a pod or address of this host to an address in the overlay. Pure. */
export function trace(input: TraceInput, from: Ip, to: Ip): Trace {
  const { self, leases } = input
  const peer = Array.from(leases.values()).find(lease => holds(lease, to))
  const hops = self === undefined ? [noOwnLease()] : walk({ ...input, self }, peer, from, to)
  const { unseen } = input.facts
  return { from, to, peer: peer?.node ?? null, hops, broken: firstBroken(hops), unseen, back: null }
}

export function withWayBack(there: Trace, back: WayBack | null): Trace {
  return { ...there, back, broken: there.broken ?? firstBroken(back?.hops ?? []) }
}

function firstBroken(hops: readonly Hop[]): Hop | null {
  return hops.find(({ state }) => state === 'broken') ?? null
}

type OwnInput = TraceInput & { readonly self: Lease }

function walk(input: OwnInput, peer: Lease | undefined, from: Ip, to: Ip): Hop[] {
  const found = leaseHop(input, peer, to)
  if ('step' in found) return [found]
  const { hop, wanted, peerIp } = found
  if (isBlind(input.facts)) return [hop, unseenHost(input.facts)]
  const fromHost = input.facts.links.some(link => link.addresses.some(({ address }) => address === from))
  const packet: Walk = { ...input, from, to, fromHost, wanted, peerIp }
  const source = fromHost ? [] : [podRouteHop(packet, from, 'source'), forwardingHop(packet)]
  if (peer?.node === input.self.node) return [hop, ...source, podRouteHop(packet, to, 'destination')]
  const chains = verdictChains(packet)
  return [
    hop,
    ...source,
    deviceHop(packet),
    overlayRouteHop(packet, markOf(packet, chains)),
    judgeHop(packet, chains, 'there'),
    neighborHop(packet),
    fdbHop(packet),
    mtuHop(packet),
    underlayRouteHop(packet),
    ownAddressHop(packet),
    underlayReversePathHop(packet),
    underlayNeighborHop(packet),
    ...inputHop(packet, chains),
    reversePathHop(packet),
    judgeHop(packet, chains, 'back'),
    answerRouteHop(packet),
  ].filter(one => one !== undefined)
}

function noOwnLease(): Hop {
  return {
    step: 'own lease',
    state: 'broken',
    used: 'no lease of this host was found in the store',
    remedy: 'start twilld on this host, or run `twill map` to see which leases there are',
  }
}

function unseenHost({ unseen }: HostFacts): Hop {
  const remedy = 'install iproute2, and run it as root'
  return { step: 'host', state: 'unknown', used: 'the kernel was not seen', why: unseen.join('; '), remedy }
}

/** The node whose subnet contains the destination, and the entries that the agent programs for it. */
function leaseHop(
  { self, backend, underlay, refused }: OwnInput,
  peer: Lease | undefined,
  to: Ip,
): Hop | { readonly hop: Hop; readonly wanted: readonly Entry[]; readonly peerIp: Ip } {
  const step = 'lease'
  const remedy = 'run `twill map` for all leases; start the agent of the node that should have this subnet'
  if (peer === undefined)
    return { step, state: 'broken', used: `no lease holds ${to}: no node owns that subnet`, remedy }
  const subnet = peer.subnets.find(({ prefix }) => contains(prefix, to))
  const used = `${subnet?.prefix} belongs to ${peer.node} at ${subnet?.publicIp}`
  const refusal = (why: string): Hop => ({
    step,
    state: 'broken',
    used,
    why: `agents refuse it: ${why}`,
    remedy: `correct the lease of ${peer.node}: \`twill map\` shows it`,
  })
  const why = refused.get(peer.node)
  if (why !== undefined) return refusal(why)
  try {
    const wanted = peer.node === self.node ? [] : backend.peerEntries(self, peer, underlay)
    return { hop: { step, state: 'ok', used }, wanted, peerIp: subnet?.publicIp ?? to }
  } catch (error) {
    if (!(error instanceof PeerRefusedError)) throw error
    return refusal(error.message)
  }
}
