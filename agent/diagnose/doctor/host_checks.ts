import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { contains, overlaps } from '../../../lease/net/prefix.ts'
import { printTableRoute } from '../route_lookup.ts'
import { oldBridges } from './device_checks.ts'
import type { Finding } from './finding.ts'
import type { Patient } from './patient.ts'

export function hostChecks(patient: Patient): readonly Finding[] {
  return [
    ...forwarding(patient),
    ...oldBridges(patient),
    ...overlappingRoutes(patient),
    ...bridgeMtu(patient),
    ...mixedIptables(patient),
    ...checksumOffload(patient),
  ]
}

function forwarding({ facts, view }: Patient): readonly Finding[] {
  const names = view.network.families.map(({ family }) =>
    family === 'ipv6' ? 'net.ipv6.conf.all.forwarding' : 'net.ipv4.ip_forward',
  )
  return names
    .filter(name => facts.sysctls[name] === '0')
    .map(name => ({
      check: 'forwarding',
      severity: 'broken',
      what: 'this host does not pass packets on between pods and the overlay',
      evidence: `${name} = 0`,
      cause: 'a sysctl file or a program switched forwarding off',
      remedy: `${shellQuote('sysctl', '-w', `${name}=1`)}; to keep it: ${shellQuote('echo', `${name}=1`)} > /etc/sysctl.d/90-twill.conf`,
    }))
}

/** Routes and networks of the host inside the pod network: subnets there are not programmed, or lead elsewhere. */
function overlappingRoutes({ facts, view }: Patient): readonly Finding[] {
  const subnets = view.self?.subnets.map(({ prefix }) => prefix) ?? []
  const ours = new Set(
    Array.from(view.desired.values()).flatMap(entry => (entry.kind === 'route' ? [entry.dst] : [])),
  )
  const foreign = facts.routes.filter(
    ({ table, dst, dev, type }) =>
      table === 'main' &&
      type === 'unicast' &&
      !ours.has(dst) &&
      !view.backend.devices.includes(dev ?? '') &&
      view.network.families.some(({ network }) => contains(network, dst)) &&
      !subnets.some(subnet => overlaps(subnet, dst)),
  )
  if (foreign.length === 0) return []
  return [
    {
      check: 'overlap',
      severity: 'risk',
      what: 'the host has routes of its own inside the pod network',
      evidence: foreign.slice(0, 3).map(printTableRoute).join('; '),
      cause: 'the pod network overlaps another network of this host (docker0, a VPN, the LAN)',
      remedy: 'choose another Network in the network config, or move the other network',
    },
  ]
}

/** A bridge that takes more than the overlay carries: packets are refused with ICMP, which a firewall may drop. */
function bridgeMtu({ facts, view }: Patient): readonly Finding[] {
  const { self, backend, underlay } = view
  if (self === undefined) return []
  const overlayMtu = backend.overlayMtu(underlay)
  const wide = facts.links.filter(
    ({ kind, mtu, addresses }) =>
      kind === 'bridge' &&
      mtu > overlayMtu &&
      addresses.some(({ address }) => self.subnets.some(({ prefix }) => contains(prefix, address))),
  )
  return wide.map(({ name, mtu }) => ({
    check: 'pod MTU',
    severity: 'risk',
    what: `pods on ${name} send packets that are larger than the overlay carries`,
    evidence: `${name} mtu ${mtu}, overlay ${overlayMtu}`,
    cause: 'the bridge was made before the MTU was known, or with another one',
    remedy: `${shellQuote('ip', 'link', 'set', name, 'mtu', `${overlayMtu}`)}, and make the pods again`,
  }))
}

/** Rules of kube-proxy in both flavours: one of the two sets is a left-over that nothing keeps. */
function mixedIptables({ facts }: Patient): readonly Finding[] {
  const withKube = facts.iptables.filter(({ text }) => /^:KUBE-(SERVICES|FORWARD)/m.test(text))
  const flavours = new Set(withKube.map(({ command }) => (command.includes('legacy') ? 'legacy' : 'nft')))
  if (flavours.size < 2) return []
  return [
    {
      check: 'iptables flavours',
      severity: 'risk',
      what: 'kube-proxy has left rules in both iptables-nft and iptables-legacy',
      evidence: withKube.map(({ command }) => command).join(', '),
      cause: 'the alternative was switched while rules stood: packets pass both sets',
      remedy: 'choose one with update-alternatives --config iptables, flush the other, restart kube-proxy',
    },
  ]
}

/** Before 5.7 the kernel sent VXLAN with wrong checksums where the device offloads them (commit ea64d8d6c675). */
function checksumOffload({ kernelRelease, view }: Patient): readonly Finding[] {
  const [major = 0, minor = 0] = kernelRelease.split('.').map(Number)
  const [device] = view.backend.devices
  if (major > 5 || (major === 5 && minor >= 7) || device === undefined || Number.isNaN(minor)) return []
  return [
    {
      check: 'checksum offload',
      severity: 'risk',
      what: 'this kernel may send tunnelled TCP with wrong checksums: ping works, TCP hangs',
      evidence: `kernel ${kernelRelease}`,
      cause: 'a fault of Linux before 5.7 with devices that compute checksums',
      remedy: `ethtool -K ${device} tx-checksum-ip-generic off, or a newer kernel`,
    },
  ]
}
