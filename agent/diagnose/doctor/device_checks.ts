import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { familyOf, scopeOf } from '../../../lease/net/ip.ts'
import { networkAddress } from '../../../lease/net/prefix.ts'
import { deviceSetting } from '../../state/device_setting.ts'
import type { Link } from '../../state/entry.ts'
import { isFormerSubnet } from '../bridge_subnet.ts'
import type { HostFacts, LinkFacts } from '../host_facts.ts'
import type { NodeView } from '../node_view.ts'
import { forwardingSetting } from '../settings.ts'
import type { Finding, Found } from './finding.ts'
import type { Patient } from './patient.ts'

export function deviceChecks(patient: Patient): readonly Finding[] {
  const wanted = Array.from(patient.view.desired.values()).filter(entry => entry.kind === 'link')
  const checks = [takenVni, takenPort, disabledIpv6, acceptsAdvertisements, foreignAddresses]
  return wanted.flatMap(want => checks.flatMap(check => check(want, patient)))
}

/** The kernel allows one VXLAN device for each VNI and port, whatever its name. */
function takenVni(want: Link, { facts }: Patient): Found {
  const { vni, port, local } = want.vxlan
  const holder = facts.links.find(
    ({ name, vxlan }) =>
      name !== want.name &&
      vxlan?.vni === vni &&
      vxlan.port === port &&
      (vxlan.local === undefined || familyOf(vxlan.local) === familyOf(local)),
  )
  if (holder === undefined || facts.links.some(({ name }) => name === want.name)) return []
  return {
    check: 'VNI taken',
    severity: 'broken',
    what: `${want.name} cannot be made: another device has its VNI and UDP port`,
    evidence: `${holder.name}: vxlan id ${vni} dstport ${port}`,
    cause: 'another network (Cilium, Docker, an older overlay) made that device',
    remedy: `remove that network from this host, or set another VNI or Port in the network config`,
  }
}

/**
 * Holders of the UDP ports of missing overlay devices. `holderOf` is slow: it reads /proc of all processes.
 */
export function portHolders(
  { desired }: NodeView,
  { links }: HostFacts,
  holderOf: (port: number) => string | undefined,
): ReadonlyMap<number, string> {
  const holders = new Map<number, string>()
  for (const entry of desired.values()) {
    if (entry.kind !== 'link' || links.some(({ name }) => name === entry.name)) continue
    const holder = holderOf(entry.vxlan.port)
    if (holder !== undefined) holders.set(entry.vxlan.port, holder)
  }
  return holders
}

/** A process, or another VXLAN device whose options differ, has the UDP port of the overlay's device. */
function takenPort(want: Link, { facts, portHolders: holders }: Patient): Found {
  if (facts.links.some(({ name }) => name === want.name)) return []
  const { port, gbp, local } = want.vxlan
  const options = gbp ? ['gbp'] : []
  const device = facts.links.find(
    ({ vxlan }) =>
      vxlan?.port === port &&
      vxlan.options.join() !== options.join() &&
      (vxlan.local === undefined || familyOf(vxlan.local) === familyOf(local)),
  )
  const holder = holders.get(port) ?? (device && printHolder(device))
  if (holder === undefined) return []
  return {
    check: 'port taken',
    severity: 'broken',
    what: `${want.name} cannot be made: its UDP port ${port} is taken`,
    evidence: holder,
    cause: 'another program or another network listens on that port',
    remedy: `stop it, or set another Port in the network config, the same for all nodes`,
  }
}

function printHolder({ name, vxlan }: LinkFacts): string {
  const options = vxlan?.options.map(option => ` ${option}`).join('')
  return `${name}: vxlan id ${vxlan?.vni} dstport ${vxlan?.port}${options}`
}

function disabledIpv6(want: Link, { facts }: Patient): Found {
  if (familyOf(want.vxlan.local) === 'ipv4') return []
  const settings = ['all', want.name].map(device => deviceSetting('ipv6', device, 'disable_ipv6'))
  const name = settings.find(key => facts.sysctls[key] === '1')
  if (name === undefined) return []
  return {
    check: 'IPv6 disabled',
    severity: 'broken',
    what: `${want.name} can have no IPv6 address`,
    evidence: `${name} = 1`,
    cause: 'IPv6 is switched off on this host, and the network has IPv6',
    remedy: shellQuote('sysctl', '-w', `${name}=0`),
  }
}

/** accept_ra 1: unless the host forwards packets; 2: always (ip-sysctl). The agent sets 0 if it may. */
function acceptsAdvertisements({ name }: Link, { facts }: Patient): Found {
  const setting = deviceSetting('ipv6', name, 'accept_ra')
  const value = facts.sysctls[setting]
  const isForwarding = facts.sysctls[forwardingSetting.ipv6] === '1'
  if (value !== '2' && (value !== '1' || isForwarding)) return []
  return {
    check: 'router advertisements',
    severity: 'risk',
    what: `${name} takes router advertisements, which any pod can send`,
    evidence: `${setting} = ${value}`,
    cause:
      'twilld cannot write to /proc/sys, as in a container that is not privileged: it removes each route and address that an advertisement makes',
    remedy: `${shellQuote('sysctl', '-w', `${setting}=0`)} on the host; for devices to come: net.ipv6.conf.default.accept_ra=0`,
  }
}

/** DHCP clients and network managers add addresses to any device that they find. */
function foreignAddresses(want: Link, { facts, view }: Patient): Found {
  const own = new Set(view.self?.subnets.map(({ prefix }) => networkAddress(prefix)))
  const { addresses = [] } = facts.links.find(({ name }) => name === want.name) ?? {}
  const foreign = addresses.filter(({ address }) => !own.has(address) && scopeOf(address) !== 'link-local')
  if (foreign.length === 0) return []
  return {
    check: 'foreign address',
    severity: 'risk',
    what: `${want.name} has an address that twilld did not give it`,
    evidence: printAddresses(foreign),
    cause: 'a network manager (NetworkManager, systemd-networkd, dhcpcd) manages the device',
    remedy: `tell it to leave ${want.name} alone: manifests/systemd has the files`,
  }
}

function printAddresses(addresses: LinkFacts['addresses']): string {
  return addresses.map(({ address, length }) => `${address}/${length}`).join(', ')
}

/** Pod bridges with an address of another subnet than this node's: their pods are unreachable. */
export function oldBridges({ facts, view }: Patient): Found {
  const subnets = view.self?.subnets.map(({ prefix }) => prefix) ?? []
  const isOld = ({ name, kind, addresses }: LinkFacts) =>
    kind === 'bridge' && addresses.some(at => isFormerSubnet(name, at, view.network, subnets))
  return facts.links.filter(isOld).map(({ name, addresses }) => ({
    check: 'old bridge',
    severity: 'broken',
    what: `the pods' bridge ${name} is not in this node's subnet`,
    evidence: `${printAddresses(addresses)}; the subnet is ${subnets.join(' + ')}`,
    cause:
      'this node got another subnet after the bridge was made: pods on it keep addresses that peers send elsewhere',
    remedy: `delete the pods of this node and the bridge (${shellQuote('ip', 'link', 'delete', name)}), so that both are made again`,
  }))
}
