import { shellQuote } from '../../../lease/common/shell_quote.ts'
import type { Ip } from '../../../lease/net/ip.ts'

/** A peer whose agent is asked. */
export interface AskedPeer {
  /** The peer's own address in the overlay. */
  readonly overlayIp: Ip
  /** This node's own address in the overlay. */
  readonly from: Ip
  /** TCP and UDP port on which agents answer; 0: they are not asked. */
  readonly port: number
  /** Other peers, whose agents pass a question on. */
  readonly relays: readonly { readonly node: string; readonly overlayIp: Ip }[]
}

/** Fields of a peer's answer: foreign input. */
export interface PeerAnswer {
  readonly answer: ReadonlyMap<string, unknown>
  /** The node that passed the question on; null if the peer was reached directly. */
  readonly via: string | null
}

export interface ProbeTarget extends AskedPeer {
  readonly node: string
  /** This host's tunnel device of the target's family. */
  readonly device: string
  readonly publicIp: Ip
  readonly underlayMtu: number
  readonly overlayMtu: number
}

export interface ProbeResult {
  readonly node: string
  readonly publicIp: Ip
  readonly overlayIp: Ip
  /** Median round trip in ms; null: no answer. */
  readonly underlayMs: number | null
  readonly overlayMs: number | null
  /** The largest packet that arrived unfragmented, in bytes; null: none, or not tried. */
  readonly underlayCarries: number | null
  readonly overlayCarries: number | null
  /** Null if no agent answers there, or it was not tried. */
  readonly ways: OneWay | null
  /** Read only where the overlay gives no answer; null if no other node could tell. */
  readonly dead: DeadWays | null
  /** `hangs`: it connected but no data arrived; `no answer`: nothing listens there; null: not tried. */
  readonly bulk: { readonly mbitPerSecond: number } | 'hangs' | 'no answer' | null
}

/** Directions of the tunnel in which nothing arrives; the peer's agent reports them through another node. */
export interface DeadWays {
  readonly there: boolean
  readonly back: boolean
  readonly via: string
}

/** Loss and size for each direction, as counted by the peer's agent. */
export interface OneWay {
  /** Share of small packets lost, 0 to 1. */
  readonly lossThere: number
  readonly lossBack: number
  /** The largest packet that arrives over the overlay, in bytes with its IP header; null: none. */
  readonly carriesThere: number | null
  readonly carriesBack: number | null
}

export interface ProbeDocument extends ProbeResult {
  readonly finding: ProbeFinding | null
}

/** The problem that a result shows; undefined if there is none. */
export interface ProbeFinding {
  readonly what: string
  readonly remedy: string
}

/** From the bottom up: a broken lower layer explains a broken upper one. */
export function judgeProbe(result: ProbeResult, target: ProbeTarget): ProbeFinding | undefined {
  const { node, publicIp, underlayMs, overlayMs, underlayCarries, overlayCarries, ways, bulk } = result
  if (overlayMs === null && underlayMs === null)
    return {
      what: `${node} answers neither on ${publicIp} nor over the overlay: the host is down, or the way to it is`,
      remedy: `check that ${node} is up and ${publicIp} its address: ping ${publicIp}`,
    }
  if (overlayMs === null && result.dead !== null) return deadFinding(result, result.dead)
  if (overlayMs === null)
    return {
      what: `${node} answers on ${publicIp} and not over the overlay: packets of the tunnel are lost on the way or on that host`,
      remedy: `let UDP of the network's VXLAN port pass between the nodes; then run twill doctor on ${node}`,
    }
  const lossy = ways === null ? undefined : lossFinding(node, ways)
  if (lossy !== undefined) return lossy
  const back = ways === null ? target.overlayMtu : (ways.carriesBack ?? 0)
  const least = Math.min(overlayCarries ?? 0, back)
  if (least < target.overlayMtu)
    return {
      what: `the overlay carries packets of ${overlayCarries ?? 0} bytes to ${node} and ${back} bytes from it, pods send up to ${target.overlayMtu}`,
      remedy: `set "MTU": ${target.underlayMtu - target.overlayMtu + least} in the network config's Backend, or raise the MTU on the way`,
    }
  if (underlayCarries !== null && underlayCarries < target.underlayMtu)
    return {
      what: `the underlay carries ${underlayCarries} of ${target.underlayMtu} bytes to ${publicIp} unfragmented`,
      remedy: `set "MTU": ${underlayCarries} in the network config's Backend`,
    }
  if (bulk === 'hangs')
    return {
      what: `ping reaches ${node} and TCP hangs: checksums or large segments are wrong on the way`,
      remedy: `switch checksum offload off on both hosts: ${shellQuote('ethtool', '-K', target.device, 'tx-checksum-ip-generic', 'off')}`,
    }
  return undefined
}

function deadFinding({ node, publicIp }: ProbeResult, { there, back, via }: DeadWays): ProbeFinding {
  const heard = `as ${node} says through ${via}`
  const pass = (hosts: string) => `let UDP of the network's VXLAN port pass ${hosts}`
  if (there && back)
    return {
      what: `the tunnel to ${node} at ${publicIp} is dead in both directions, ${heard}`,
      remedy: `${pass('between the two nodes')}; then run twill doctor on both`,
    }
  if (there)
    return {
      what: `the tunnel is dead on the way to ${node}: nothing arrives at ${publicIp}, what it sends arrives here, ${heard}`,
      remedy: `${pass(`from this host to ${publicIp}`)}; then run twill trace on this host and twill doctor on ${node}`,
    }
  if (back)
    return {
      what: `the tunnel is dead on the way from ${node}: packets arrive at ${publicIp}, what it sends does not arrive here, ${heard}`,
      remedy: `${pass(`from ${publicIp} to this host`)}; then run twill trace on ${node} and twill doctor on this host`,
    }
  return {
    what: `${node} answers probes over the overlay and no ping: something drops ICMP inside the tunnel`,
    remedy: `look for a firewall rule against ICMP on ${node}`,
  }
}

/** Loss up to this share may be chance: two of twenty. */
const CHANCE = 0.1

function lossFinding(node: string, { lossThere, lossBack }: OneWay): ProbeFinding | undefined {
  if (lossThere <= CHANCE && lossBack <= CHANCE) return undefined
  const percent = (share: number) => `${Math.round(share * 100)} %`
  const side = lossThere > lossBack ? `on the way to ${node}` : `on the way from ${node}`
  return {
    what: `packets of the overlay are lost: ${percent(lossThere)} to ${node}, ${percent(lossBack)} from it`,
    remedy: `look for what drops or limits UDP of the network's VXLAN port ${side}: a full queue, a rate limit, a bad link`,
  }
}
