import { deviceChecks } from './device_checks.ts'
import { fileChecks } from './file_checks.ts'
import { type Finding, ranked } from './finding.ts'
import { hostChecks } from './host_checks.ts'
import { leaseChecks } from './lease_checks.ts'
import { pathChecks } from './path_checks.ts'
import type { Check, Patient } from './patient.ts'

/** In the order of how much each explains: without a lease there is no device, without a device no entry. */
const checks: readonly Check[] = [leaseChecks, deviceChecks, hostChecks, pathChecks, fileChecks, agentChecks]

/** Everything that is wrong on this host as far as it can be seen, the likeliest cause first. */
export function examine(patient: Patient): readonly Finding[] {
  return ranked(checks.flatMap(check => check(patient)).filter(isFirst))
}

/** A walk meets what a check has found already. */
function isFirst({ check }: Finding, place: number, all: readonly Finding[]): boolean {
  const alike = (one: Finding) => one.check === check
  return all.findIndex(alike) === place
}

/** The data plane outlives its agent: that none runs breaks nothing, but nothing is mended either. */
function agentChecks({ agent }: Patient): readonly Finding[] {
  if (agent === undefined)
    return [
      {
        check: 'agent',
        severity: 'risk',
        what: 'no agent answers on this host',
        evidence: 'the local socket of twilld is not there, or does not answer',
        cause:
          'twilld was stopped, has ended, or hangs: traffic goes on with the entries that stand, and nothing repairs them',
        remedy: 'systemctl start twilld; journalctl -u twilld tells why it ended',
      },
    ]
  if (agent.notReady.length === 0) return []
  return [
    {
      check: 'readiness',
      severity: 'broken',
      what: 'the agent says that this node is not ready',
      evidence: agent.notReady.join('; '),
      cause: 'as the agent says',
      remedy: 'mend what it names; /readyz says when it is over',
    },
  ]
}
