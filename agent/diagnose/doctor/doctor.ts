import { isBlind } from '../host_facts.ts'
import type { AgentSilence } from '../node_view.ts'
import { deviceChecks } from './device_checks.ts'
import { fileChecks } from './file_checks.ts'
import { type Finding, type Found, ranked } from './finding.ts'
import { hostChecks } from './host_checks.ts'
import { leaseChecks } from './lease_checks.ts'
import { pathChecks } from './path_checks.ts'
import type { Check, Patient } from './patient.ts'
import { trafficChecks } from './traffic_checks.ts'
import { tunnelChecks } from './tunnel_checks.ts'

/** Causes first: without a lease there is no device, without a device no entry. */
const allChecks: readonly Check[] = [
  leaseChecks,
  deviceChecks,
  ...hostChecks,
  pathChecks,
  tunnelChecks,
  trafficChecks,
  ...fileChecks,
  agentChecks,
  unseenChecks,
]

/** Checks that need nothing from iproute2. */
const checksWithoutHost: readonly Check[] = [leaseChecks, ...fileChecks, agentChecks, unseenChecks]

/** All visible problems of this host, the likeliest cause first. */
export function examine(patient: Patient): readonly Finding[] {
  const checks = isBlind(patient.facts) ? checksWithoutHost : allChecks
  const known: Finding[] = []
  for (const check of checks) {
    const repeats = check === pathChecks ? isFoundAgain : isSame
    const found = [check(patient)].flat()
    known.push(
      ...found.filter((one, i) => ![...known, ...found.slice(0, i)].some(other => repeats(one, other))),
    )
  }
  return ranked(known)
}

/** Walks break at what another check has found. */
function isFoundAgain({ check }: Finding, known: Finding): boolean {
  return known.check === check && known.severity === 'broken'
}

/** One rule or setting may stop both families. */
function isSame({ check, what, evidence }: Finding, known: Finding): boolean {
  return known.check === check && known.what === what && known.evidence === evidence
}

/** The data plane outlives its agent: without an agent nothing breaks, but nothing is repaired either. */
function agentChecks({ agent }: Patient): Found {
  if (agent === undefined)
    return {
      check: 'agent',
      severity: 'unseen',
      what: 'no agent answers on this host',
      evidence: 'the local socket of twilld is not there, or does not answer',
      cause:
        'twilld was stopped, has ended, or hangs: traffic continues with the entries that exist, and nothing repairs them',
      remedy: 'systemctl start twilld; journalctl -u twilld tells why it ended',
    }
  if (agent.kind !== 'answers') return silentAgent(agent)
  if (agent.notReady.length === 0) return []
  return {
    check: 'readiness',
    severity: 'broken',
    what: 'the agent says that this node is not ready',
    evidence: agent.notReady.join('; '),
    cause: 'as the agent says',
    remedy: 'fix what it names; /readyz says when it is over',
  }
}

function silentAgent({ kind, why }: AgentSilence): Finding {
  if (kind === 'waiting')
    return {
      check: 'readiness',
      severity: 'broken',
      what: 'the agent waits',
      evidence: why,
      cause: 'its network, its lease or its interface is not there yet, as it says',
      remedy: 'fix what it waits for; journalctl -u twilld tells more',
    }
  return {
    check: 'agent',
    severity: 'unseen',
    what: 'the agent of this host was not asked',
    evidence: why,
    cause: 'only root and the group of its socket may ask it, and each network of a host has its own',
    remedy: 'run it as root, with its --local-socket',
  }
}

/** Without root, or without a tool, part of the host cannot be read. */
function unseenChecks({ facts: { unseen } }: Patient): Found {
  if (unseen.length === 0) return []
  return {
    check: 'unseen',
    severity: 'unseen',
    what: 'a part of this host could not be looked at',
    evidence: unseen.join('; '),
    cause: 'a tool is not installed, or it needs root',
    remedy: 'run it as root, with iproute2, iptables and nftables installed',
  }
}
