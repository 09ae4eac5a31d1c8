import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { familyOf, scopeOf } from '../../../lease/net/ip.ts'
import { contains, networkAddress } from '../../../lease/net/prefix.ts'
import type { Link } from '../../state/entry.ts'
import type { LinkFacts } from '../host_facts.ts'
import type { Finding } from './finding.ts'
import type { Patient } from './patient.ts'

export function deviceChecks(patient: Patient): readonly Finding[] {
  const wanted = Array.from(patient.view.desired.values()).filter(entry => entry.kind === 'link')
  return wanted.flatMap(want => [
    ...takenVni(want, patient),
    ...disabledIpv6(want, patient),
    ...foreignAddresses(want, patient),
  ])
}

/** The kernel takes one VXLAN device for each VNI and port, whatever its name. */
function takenVni(want: Link, { facts }: Patient): readonly Finding[] {
  const { vni, port, local } = want.vxlan
  const holder = facts.links.find(
    ({ name, vxlan }) =>
      name !== want.name &&
      vxlan?.vni === vni &&
      vxlan.port === port &&
      (vxlan.local === undefined || familyOf(vxlan.local) === familyOf(local)),
  )
  if (holder === undefined || facts.links.some(({ name }) => name === want.name)) return []
  return [
    {
      check: 'VNI taken',
      severity: 'broken',
      what: `${want.name} cannot be made: another device has its VNI and UDP port`,
      evidence: `${holder.name}: vxlan id ${vni} dstport ${port}`,
      cause: 'another network (Cilium, Docker, an older overlay) made that device',
      remedy: `remove that network from this host, or set another VNI or Port in the network config`,
    },
  ]
}

function disabledIpv6(want: Link, { facts }: Patient): readonly Finding[] {
  if (familyOf(want.vxlan.local) === 'ipv4') return []
  const name = ['all', want.name]
    .map(device => `net.ipv6.conf.${device}.disable_ipv6`)
    .find(key => facts.sysctls[key] === '1')
  if (name === undefined) return []
  return [
    {
      check: 'IPv6 disabled',
      severity: 'broken',
      what: `${want.name} can have no IPv6 address`,
      evidence: `${name} = 1`,
      cause: 'IPv6 is switched off on this host, and the network has IPv6',
      remedy: shellQuote('sysctl', '-w', `${name}=0`),
    },
  ]
}

/** DHCP clients and network managers put addresses on any device that they find. */
function foreignAddresses(want: Link, { facts, view }: Patient): readonly Finding[] {
  const own = new Set(view.self?.subnets.map(({ prefix }) => networkAddress(prefix)))
  const is = facts.links.find(({ name }) => name === want.name)
  const foreign = is?.addresses.filter(
    ({ address }) => !own.has(address) && scopeOf(address) !== 'link-local',
  )
  if (foreign === undefined || foreign.length === 0) return []
  return [
    {
      check: 'foreign address',
      severity: 'risk',
      what: `${want.name} has an address that twilld did not give it`,
      evidence: foreign.map(({ address, length }) => `${address}/${length}`).join(', '),
      cause: 'a network manager (NetworkManager, systemd-networkd, dhcpcd) manages the device',
      remedy: `tell it to leave ${want.name} alone: manifests/systemd has the files`,
    },
  ]
}

/** Bridges of pods that hold addresses of another subnet than this node's: their pods cannot be reached. */
export function oldBridges({ facts, view }: Patient): readonly Finding[] {
  const subnets = view.self?.subnets.map(({ prefix }) => prefix) ?? []
  const isOld = ({ kind, addresses }: LinkFacts) =>
    kind === 'bridge' &&
    addresses.some(
      ({ address }) =>
        view.network.families.some(({ network }) => contains(network, address)) &&
        !subnets.some(subnet => contains(subnet, address)),
    )
  if (subnets.length === 0) return []
  return facts.links.filter(isOld).map(({ name, addresses }) => ({
    check: 'old bridge',
    severity: 'broken',
    what: `the pods' bridge ${name} is not in this node's subnet`,
    evidence: `${addresses.map(({ address, length }) => `${address}/${length}`).join(', ')}; the subnet is ${subnets.join(' + ')}`,
    cause:
      'this node got another subnet after the bridge was made: pods on it keep addresses that peers send elsewhere',
    remedy: `delete the pods of this node and the bridge (${shellQuote('ip', 'link', 'delete', name)}), so that both are made again`,
  }))
}
