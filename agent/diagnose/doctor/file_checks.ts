import type { Finding } from './finding.ts'
import type { Patient } from './patient.ts'

export function fileChecks({ files, view }: Patient): readonly Finding[] {
  const { self } = view
  if (self === undefined) return []
  const own = self.subnets.map(({ prefix }) => prefix)
  if (files.subnets === undefined)
    return [
      {
        check: 'subnet file',
        severity: 'broken',
        what: 'the CNI plugin finds no subnet: new pods do not start',
        evidence: `${files.subnetFile} does not exist`,
        cause: 'it was removed (/run is empty after a reboot), or the agent has not got so far',
        remedy: 'start twilld, which writes it; where it runs, its log says why it does not',
      },
    ]
  if (own.every(prefix => files.subnets?.includes(prefix))) return []
  return [
    {
      check: 'subnet file',
      severity: 'broken',
      what: 'new pods get addresses of another subnet than this node has',
      evidence: `${files.subnetFile} says ${files.subnets.join(' + ') || 'nothing'}, the lease ${own.join(' + ')}`,
      cause: 'the file was written by another agent or in an earlier life',
      remedy: 'start twilld, which writes it again',
    },
  ]
}
