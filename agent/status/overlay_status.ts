import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import { bridgeTrouble } from '../diagnose/bridge_subnet.ts'
import type { Firewall } from '../firewall/firewall.ts'
import type { Membership } from '../membership/membership.ts'
import type { OwnLease } from '../membership/own_lease.ts'
import type { NodeFiles } from '../node_files/node_files.ts'
import type { Reconciler } from '../reconcile/reconciler.ts'
import { entryKey } from '../state/print.ts'
import type { UnderlayWatch } from '../underlay/underlay_watch.ts'
import { brokenByHost, type HostWatch } from './host_watch.ts'
import { type AgentStatus, type Check, check } from './status.ts'

/** The parts of a node with a lease; each reports its own troubles. */
export interface OverlayParts {
  readonly network: NetworkConfig
  readonly membership: Membership
  readonly reconciler: Pick<Reconciler, 'attempts' | 'roundMs'>
  readonly firstPassDone: boolean
  readonly ownLease: Pick<OwnLease, 'trouble'>
  readonly underlay: Pick<UnderlayWatch, 'trouble' | 'facts'>
  /** What the node keeps on its host besides kernel entries. */
  readonly host: {
    readonly firewall: Pick<Firewall, 'trouble'>
    readonly files: Pick<NodeFiles, 'trouble'>
    readonly hostWatch: Pick<HostWatch, 'findings'>
  }
}

export type OverlayStatus = Pick<
  AgentStatus,
  'checks' | 'findings' | 'lease' | 'peers' | 'refused' | 'failing' | 'contested' | 'roundMs'
>

export function overlayStatus(parts: OverlayParts): OverlayStatus {
  const { membership, reconciler, host } = parts
  const { refused, contested } = reconciler.attempts
  return {
    checks: overlayChecks(parts),
    roundMs: reconciler.roundMs,
    findings: host.hostWatch.findings,
    lease: membership.self,
    peers: membership.peers.count,
    refused: membership.refused,
    failing: Array.from(refused, ([key, { error }]) => ({ key, error: error.message })),
    contested: Array.from(contested.values(), ({ entries }) => entries),
  }
}

/** Whether pods on this node reach their peers, by part; `start` alone fails until the first full pass. */
export function overlayChecks(parts: OverlayParts): readonly Check[] {
  const { network, membership, reconciler, firstPassDone, ownLease, underlay, host } = parts
  if (!firstPassDone) return [check('start', 'waiting for the first complete lease table')]
  const failing = reconciler.attempts.refused
  const own = membership.ownEntries.map(entry => failing.get(entryKey(entry))?.error.message)
  return [
    check('device', ...own),
    check('lease', ownLease.trouble),
    check('peers', ...membership.troubles),
    check('bridge', bridgeTrouble(underlay.facts.interfaces, network, membership.self)),
    check('underlay', underlay.trouble),
    check('firewall', host.firewall.trouble),
    check('files', host.files.trouble),
    check('host', ...brokenByHost(host.hostWatch.findings)),
  ]
}

export function isReady(checks: readonly Check[]): boolean {
  return checks.every(({ reasons }) => reasons.length === 0)
}
