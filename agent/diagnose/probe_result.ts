import type { Ip } from '../../lease/net/ip.ts'

/** What is needed to probe one peer. */
export interface ProbeTarget {
  readonly node: string
  readonly publicIp: Ip
  /** The peer's own address in the overlay. */
  readonly overlayIp: Ip
  /** This node's. */
  readonly from: Ip
  readonly underlayMtu: number
  readonly overlayMtu: number
  /** TCP port that agents answer bulk transfers on. */
  readonly port: number
}

/** What came back. */
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
  /** `hangs`: it connected and no data came through; `no answer`: nothing listens there; null: not tried. */
  readonly bulk: { readonly mbitPerSecond: number } | 'hangs' | 'no answer' | null
}

/** What a result means; undefined where all is well. */
export interface ProbeFinding {
  readonly what: string
  readonly remedy: string
}

/** From the bottom up: what is broken below explains what is broken above. */
export function judgeProbe(result: ProbeResult, target: ProbeTarget): ProbeFinding | undefined {
  const { node, publicIp, underlayMs, overlayMs, underlayCarries, overlayCarries, bulk } = result
  if (overlayMs === null && underlayMs === null)
    return {
      what: `${node} answers neither on ${publicIp} nor over the overlay: the host is down, or the way to it is`,
      remedy: `check that ${node} is up and ${publicIp} its address: ping ${publicIp}`,
    }
  if (overlayMs === null)
    return {
      what: `${node} answers on ${publicIp} and not over the overlay: packets of the tunnel are lost on the way or on that host`,
      remedy: `let UDP of the network's VXLAN port pass between the nodes; then run twill doctor on ${node}`,
    }
  if (overlayCarries === null || overlayCarries < target.overlayMtu)
    return {
      what: `the overlay carries packets of ${overlayCarries ?? 0} bytes to ${node}, pods send up to ${target.overlayMtu}`,
      remedy: `set "MTU": ${target.underlayMtu - target.overlayMtu + (overlayCarries ?? 0)} in the network config's Backend, or raise the MTU on the way`,
    }
  if (underlayCarries !== null && underlayCarries < target.underlayMtu)
    return {
      what: `the underlay carries ${underlayCarries} of ${target.underlayMtu} bytes to ${publicIp} unfragmented`,
      remedy: `set "MTU": ${underlayCarries} in the network config's Backend`,
    }
  if (bulk === 'hangs')
    return {
      what: `ping reaches ${node} and TCP hangs: checksums or large segments are wrong on the way`,
      remedy: 'switch checksum offload off on both hosts: ethtool -K flannel.1 tx-checksum-ip-generic off',
    }
  return undefined
}
