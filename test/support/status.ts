import { type AgentStatus, RoundTotals } from '../../agent/status/status.ts'

/** The status of a ready agent that has done nothing yet, except for the given fields. */
export function status(more: Partial<AgentStatus> = {}): AgentStatus {
  return {
    version: '1.2.3',
    notReady: [],
    checks: [],
    lease: undefined,
    peers: 0,
    refused: new Map(),
    findings: [],
    failing: [],
    contested: [],
    rounds: new RoundTotals(() => 0),
    roundMs: 0,
    view: undefined,
    resyncMs: 60_000,
    store: { lastContactMs: undefined, trouble: undefined, troubleMs: 0 },
    ...more,
  }
}
