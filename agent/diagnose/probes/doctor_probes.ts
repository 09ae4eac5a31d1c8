import { isUnexpected, messageOf } from '../../../lease/common/errors.ts'
import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { type Finding, type Found, ranked } from '../doctor/finding.ts'
import type { NodeView } from '../node_view.ts'
import type { Hop } from '../trace/hop.ts'
import type { ProbeDocument } from './probe_result.ts'
import { probedPeers } from './probe_targets.ts'

/** Peers probed, and the time-out of all: each costs up to 2 MB. */
const PEERS = 3
const PROBES_MS = 17_000

/**
 * Probes a few peers in a tunnel, unless a finding is `broken`: it explains most of what probes would find.
 */
export async function withProbes(
  findings: readonly Finding[],
  view: NodeView,
  { probe, back }: PeerChecks,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const isProbed = view.self !== undefined && view.backend.devices.length > 0
  if (!isProbed || findings.some(({ severity }) => severity === 'broken')) return findings
  const late = AbortSignal.timeout(PROBES_MS)
  const until = AbortSignal.any([signal, late])
  const peers = spread(probedPeers(view))
  let answered = false
  const probed = await Promise.all(
    peers.map(async peer => {
      try {
        const probes = await probe(peer, until)
        if (probes.some(({ underlayMs, overlayMs }) => underlayMs !== null || overlayMs !== null))
          answered = true
        const ways = probes.flatMap(findingOf)
        return ways.length > 0 ? ways : (await back(peer, until)).flatMap(hop => backFinding(peer, hop))
      } catch (error) {
        if (isUnexpected(error) && !late.aborted) throw error
        const why = late.aborted ? `it took longer than ${PROBES_MS / 1000} s` : messageOf(error)
        return [unprobed(peer, why)]
      }
    }),
  )
  if (!answered && peers.length > 1) return ranked([...findings, cutOff(peers, view)])
  return ranked([...findings, ...probed.flat()])
}

/** Active checks of one peer; each takes seconds. */
interface PeerChecks {
  readonly probe: (peer: string, signal: AbortSignal) => Promise<readonly ProbeDocument[]>
  /** Hops from the peer's pods to this host's, as its agent sees them; none if it does not answer. */
  readonly back: (peer: string, signal: AbortSignal) => Promise<readonly Hop[]>
}

/** Takes peers at equal distances in the list: adjacent ones may share a rack. */
function spread(peers: readonly string[]): readonly string[] {
  const step = Math.max(1, Math.floor(peers.length / PEERS))
  return peers.filter((_, i) => i % step === 0).slice(0, PEERS)
}

/** No peer answers: the likeliest cause is on this host. */
function cutOff(peers: readonly string[], { underlay }: NodeView): Finding {
  return {
    check: 'probe',
    severity: 'broken',
    what: 'no peer answers, neither on the underlay nor over the overlay: this host is cut off, or all of them are down',
    evidence: `asked: ${peers.join(', ')}`,
    cause: `the link of ${underlay.name}, its switch port or its VLAN; or what facts do not show: filters of tc, eBPF programs`,
    remedy: `ping the gateway of ${underlay.name} and another host; ${shellQuote('tc', 'filter', 'show', 'dev', underlay.name, 'egress')}`,
  }
}

/** Only a risk where the peer answers nowhere: a peer that is down is no fault of this host. */
function findingOf(way: ProbeDocument): Found {
  const { finding, underlayMs, overlayMs, overlayCarries, bulk } = way
  if (finding === null) return []
  const ms = (value: number | null) => (value === null ? 'no answer' : `${value.toFixed(2)} ms`)
  const transfer = typeof bulk === 'string' ? bulk : bulk === null ? 'not tried' : 'works'
  return {
    check: 'probe',
    severity: underlayMs === null ? 'risk' : 'broken',
    what: finding.what,
    evidence: `underlay ${ms(underlayMs)}, overlay ${ms(overlayMs)}, carries ${overlayCarries ?? '-'} bytes, TCP ${transfer}`,
    cause:
      'packets are lost on the way to that node or on that node; nothing is wrong on this host, except what cannot be checked (filters of tc, eBPF programs)',
    remedy: finding.remedy,
  }
}

/** What only pods' packets meet. Not `source pod` and `lease`: the peer may have no pods. */
function backFinding(peer: string, { step, state, used, why, remedy }: Hop): Found {
  if (state !== 'broken' || step === 'source pod' || step === 'lease') return []
  return {
    check: 'peer',
    severity: 'risk',
    what: `the way from the pods of ${peer} breaks on that host at: ${step}`,
    evidence: used,
    cause: why ?? 'the entry is missing there',
    remedy: `on ${peer}: ${remedy ?? 'see twill trace'}`,
  }
}

function unprobed(peer: string, why: string): Finding {
  return {
    check: 'probe',
    severity: 'unseen',
    what: `the way to ${peer} was not probed to the end`,
    evidence: why,
    cause: 'a way that loses packets, a busy host, or a missing tool',
    remedy: `${shellQuote('twill', 'probe', peer)}, which waits longer`,
  }
}
