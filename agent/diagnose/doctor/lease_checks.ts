import { printLease } from '../../../lease/lease.ts'
import type { Finding } from './finding.ts'
import type { Patient } from './patient.ts'

const NAMED = 3

export function leaseChecks({ view }: Patient): readonly Finding[] {
  const { self, refused, leases } = view
  const findings: Finding[] = []
  if (self === undefined)
    findings.push({
      check: 'own lease',
      severity: 'broken',
      what: 'this host has no lease',
      evidence: `none of ${leases.table.size} leases has an address or VTEP MAC of this host`,
      cause: 'the agent never ran here, waits for a subnet, or its lease ran out',
      remedy: 'start twilld, and read what it waits for: journalctl -u twilld',
    })
  // No node holds a reservation yet: its subnet carries no traffic.
  const isReservation = (node: string) => leases.table.get(node)?.backendType === ''
  const others = Array.from(refused).filter(([node]) => node !== self?.node && !isReservation(node))
  if (others.length > 0)
    findings.push({
      check: 'refused leases',
      severity: 'risk',
      what: `${others.length} leases are refused: pods of these nodes cannot be reached from here`,
      evidence: others
        .slice(0, NAMED)
        .map(([node, why]) => `${node}: ${why}`)
        .join('; '),
      cause: 'the leases break a rule of the network, named above',
      remedy: 'correct them on the nodes that are named; twill map shows all of them',
    })
  return [...findings, ...sharedAddresses(view)]
}

/** Two nodes behind one public IP: a cloned machine, NAT, or an address that moved. */
function sharedAddresses({ leases, self }: Patient['view']): readonly Finding[] {
  const own = new Set(self?.subnets.map(({ publicIp }) => publicIp))
  const others = [...leases.table.values()].filter(
    lease => lease.node !== self?.node && lease.subnets.some(({ publicIp }) => own.has(publicIp)),
  )
  return others.map(other => ({
    check: 'public IP',
    severity: 'risk',
    what: `${other.node} has this host's public IP`,
    evidence: printLease(other),
    cause: 'a cloned machine, a NAT address that several hosts have, or the lease of a node that is gone',
    remedy: 'give each host its own address (--public-ip), or delete the lease of the node that is gone',
  }))
}
