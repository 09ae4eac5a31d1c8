import type { StoreHealth } from '../../lease/store.ts'
import type { Finding } from '../diagnose/doctor/finding.ts'
import type { AgentFacts } from '../diagnose/node_view.ts'
import type { OverlayStatus } from './overlay_status.ts'
import { type AgentStatus, check, type RoundTotals, storeOutage } from './status.ts'

/** The agent's state; the overlay is undefined until there is a lease, the store until it is open. */
export interface AgentParts extends Pick<AgentStatus, 'version' | 'view' | 'resyncMs'> {
  readonly overlay: OverlayStatus | undefined
  readonly store: StoreHealth | undefined
  readonly rounds: RoundTotals
  /** What the agent waits for until it has a lease. */
  readonly waitingFor: string
  /** The resource that this host has run out of. */
  readonly scarcity: string | undefined
  /** What keeps the etcd that this host runs from serving; undefined where it runs none. */
  readonly etcdTroubles?: readonly string[] | undefined
  /** Findings about this process, not its overlay. */
  readonly ownFindings: readonly Finding[]
}

const unopened: StoreHealth = { lastContactMs: undefined, trouble: undefined, troubleMs: 0 }

const withoutLease: Omit<OverlayStatus, 'checks'> = {
  lease: undefined,
  peers: 0,
  refused: new Map(),
  findings: [],
  failing: [],
  contested: [],
  roundMs: 0,
}

export function agentStatus(parts: AgentParts): AgentStatus {
  const { overlay, store = unopened, waitingFor, scarcity, etcdTroubles, ownFindings, ...rest } = parts
  const shared = overlay ?? withoutLease
  const findings = [...ownFindings, ...shared.findings]
  const isStarted = overlay?.checks.every(({ name }) => name !== 'start')
  const checks = [
    ...(overlay?.checks ?? [check('start', `waiting for ${waitingFor}`)]),
    check('store', overlay && (isStarted ? storeOutage(store) : store.trouble)),
    ...(etcdTroubles === undefined ? [] : [check('embedded-etcd', ...etcdTroubles)]),
    check('resources', scarcity),
    check('lease-conflict', store.conflict),
    check('network-config', store.notice),
  ]
  const notReady = checks.flatMap(({ reasons }) => reasons)
  return { ...shared, ...rest, store, checks, findings, notReady }
}

/** The part of the agent's status that `twill status` gets. */
export function agentFacts({ version, notReady, checks, store }: AgentStatus): AgentFacts {
  const reasons = checks.find(({ name }) => name === 'firewall')?.reasons ?? []
  const firewall = reasons.join('; ') || 'as desired'
  return { kind: 'answers', version, pid: process.pid, notReady, firewall, store }
}
