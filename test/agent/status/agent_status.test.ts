import { describe, expect, it } from 'vitest'
import { type AgentParts, agentStatus } from '../../../agent/status/agent_status.ts'
import { check, RoundTotals } from '../../../agent/status/status.ts'

const trouble = 'Cannot list nodes at https://10.96.0.1: HTTP 403'

/** An agent whose store has had that trouble for a second. */
function reasons(overlay: AgentParts['overlay'], store: object = {}): readonly string[] {
  return agentStatus({
    version: '1',
    view: undefined,
    resyncMs: 60_000,
    overlay,
    store: { lastContactMs: 1, trouble, troubleMs: 1_000, ...store },
    rounds: new RoundTotals(() => 0),
    waitingFor: `a lease: ${trouble}`,
    scarcity: undefined,
    ownFindings: [],
  }).notReady
}

const overlay = (...checks: ReturnType<typeof check>[]) => {
  const nothing = { lease: undefined, peers: 0, refused: new Map(), findings: [], failing: [] }
  return { ...nothing, contested: [], roundMs: 0, checks }
}

describe('why an agent is not ready', () => {
  it('is the trouble of its store as long as it has not started, and at once', () => {
    expect(reasons(undefined)).toEqual([`waiting for a lease: ${trouble}`])
    expect(reasons(overlay(check('start', 'waiting for the first table')))).toEqual([
      'waiting for the first table',
      trouble,
    ])
  })

  it('is that trouble only where it lasts once the agent has started', () => {
    expect(reasons(overlay(check('device')))).toEqual([])
    expect(reasons(overlay(check('device')), { troubleMs: 20_000 })).toEqual([
      `the store has not served this node for 20 s: ${trouble}`,
    ])
  })
})
