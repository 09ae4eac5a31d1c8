import { configAhead } from '../cni_configs.ts'
import type { Found } from './finding.ts'
import type { Check, Patient } from './patient.ts'

export const fileChecks: readonly Check[] = [subnetFile, cniConfig]

function subnetFile({ files, view }: Patient): Found {
  if (view.self === undefined) return []
  const own = view.self.subnets.map(({ prefix }) => prefix)
  if (files.subnets === undefined)
    return {
      check: 'subnet file',
      severity: 'broken',
      what: 'the CNI plugin finds no subnet: new pods do not start',
      evidence: `${files.subnetFile} does not exist`,
      cause: 'it was removed (/run is empty after a reboot), or the agent has not written it yet',
      remedy: 'start twilld, which writes it; if it runs, its log says why the file is missing',
    }
  if (own.every(prefix => files.subnets?.includes(prefix))) return []
  return {
    check: 'subnet file',
    severity: 'broken',
    what: 'new pods get addresses of another subnet than this node has',
    evidence: `${files.subnetFile} says ${files.subnets.join(' + ') || 'nothing'}, the lease ${own.join(' + ')}`,
    cause: 'another agent wrote the file, or this one with an earlier lease',
    remedy: 'start twilld, which writes it again',
  }
}

function cniConfig({ files: { cni }, view }: Patient): Found {
  const networks = view.network.families.map(({ network }) => network)
  const ahead = configAhead(cni.configs, networks)
  if (ahead === undefined) return []
  return {
    check: 'CNI config',
    severity: 'risk',
    what: 'new pods get no address of this network: the container runtime uses another CNI config',
    evidence: `${cni.directory}/${ahead.first} sorts before ${ahead.ours}`,
    cause: 'another network was installed here, or its config was left behind',
    remedy: `remove ${ahead.first} if it is not wanted, or give ${ahead.ours} a name that sorts first`,
  }
}
