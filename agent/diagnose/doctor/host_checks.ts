import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { contains, overlaps } from '../../../lease/net/prefix.ts'
import type { IptablesDump } from '../host_facts.ts'
import { bridgeTroubles } from '../pod_bridge.ts'
import { printTableRoute } from '../route_lookup.ts'
import { bridgeSetting, forwardingSetting } from '../settings.ts'
import { oldBridges } from './device_checks.ts'
import type { Found } from './finding.ts'
import type { Check, Patient } from './patient.ts'

export const hostChecks: readonly Check[] = [
  forwarding,
  oldBridges,
  podBridge,
  overlappingRoutes,
  bridgeMtu,
  bridgedPackets,
  mixedIptables,
  checksumOffload,
]

/** A file of the operator's own: `twill install` writes and removes 90-twill.conf. */
const KEPT_SETTINGS = '/etc/sysctl.d/91-forwarding.conf'

function forwarding({ facts, view }: Patient): Found {
  const names = view.network.families.map(({ family }) => forwardingSetting[family])
  return names
    .filter(name => facts.sysctls[name] === '0')
    .map(name => ({
      check: 'forwarding',
      severity: 'broken',
      what: 'this host does not pass packets on between pods and the overlay',
      evidence: `${name} = 0`,
      cause: 'a sysctl file or a program switched forwarding off',
      remedy: `${shellQuote('sysctl', '-w', `${name}=1`)}; to keep it: ${shellQuote('echo', `${name}=1`)} >> ${KEPT_SETTINGS}`,
    }))
}

function podBridge({ facts, view }: Patient): Found {
  const subnets = view.self?.subnets.map(({ prefix }) => prefix) ?? []
  return bridgeTroubles(facts, subnets).map(({ finding }) => finding)
}

/** The agent does not program subnets inside such a route, or the host misroutes them. */
function overlappingRoutes({ facts, view }: Patient): Found {
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
  return {
    check: 'overlap',
    severity: 'risk',
    what: 'the host has routes of its own inside the pod network',
    evidence: foreign.slice(0, 3).map(printTableRoute).join('; '),
    cause: 'the pod network overlaps another network of this host (docker0, a VPN, the LAN)',
    remedy: 'choose another Network in the network config, or move the other network',
  }
}

/** The host refuses packets above the overlay's. The kernel resets the MTU of a bridge without ports. */
function bridgeMtu({ facts, view }: Patient): Found {
  const { self, backend, underlay } = view
  if (self === undefined) return []
  const overlayMtu = backend.overlayMtu(underlay)
  const wide = facts.links.filter(
    ({ name, kind, mtu, addresses }) =>
      kind === 'bridge' &&
      mtu > overlayMtu &&
      facts.links.some(({ master }) => master === name) &&
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

/** kube-proxy in iptables: the answer of a backend on the client's own node must be translated back. */
function bridgedPackets({ facts, view }: Patient): Found {
  const isProxied = ({ text }: IptablesDump) => /^:KUBE-SERVICES/m.test(text)
  const families = view.network.families.filter(one =>
    facts.iptables.some(dump => dump.family === one.family && isProxied(dump)),
  )
  const name = families.map(({ family }) => bridgeSetting[family]).find(key => facts.sysctls[key] !== '1')
  if (name === undefined) return []
  const value = facts.sysctls[name]
  return {
    check: 'bridge netfilter',
    severity: 'risk',
    what: 'pods get no answer from a Service whose backend is on their own node',
    evidence: value === undefined ? `${name} is missing` : `${name} = ${value}`,
    cause: 'packets between two pods on one bridge do not pass iptables, which kube-proxy uses here',
    remedy: `modprobe br_netfilter; ${shellQuote('sysctl', '-w', `${name}=1`)}; to keep both: /etc/modules-load.d and /etc/sysctl.d`,
  }
}

/** Rules of kube-proxy in both flavours: one of the two sets is stale. */
function mixedIptables({ facts }: Patient): Found {
  const withKube = facts.iptables.filter(({ text }) => /^:KUBE-(SERVICES|FORWARD)/m.test(text))
  const flavours = new Set(withKube.map(({ command }) => (command.includes('legacy') ? 'legacy' : 'nft')))
  if (flavours.size < 2) return []
  return {
    check: 'iptables flavours',
    severity: 'risk',
    what: 'kube-proxy has left rules in both iptables-nft and iptables-legacy',
    evidence: withKube.map(({ command }) => command).join(', '),
    cause: 'the alternative was switched while rules stood: packets pass both sets',
    remedy: 'choose one with update-alternatives --config iptables, flush the other, restart kube-proxy',
  }
}

/** Kernels before 5.7 send VXLAN with wrong checksums if the device offloads them (commit ea64d8d6c675). */
function checksumOffload({ kernelRelease, view, agent }: Patient): Found {
  // The agent disables the offload itself (--tx-checksum).
  if (agent !== undefined) return []
  const [major = 0, minor = 0] = kernelRelease.split('.').map(Number)
  const { devices } = view.backend
  if (major > 5 || (major === 5 && minor >= 7) || devices.length === 0 || Number.isNaN(minor)) return []
  return {
    check: 'checksum offload',
    severity: 'risk',
    what: 'this kernel may send tunnelled TCP with wrong checksums: ping works, TCP hangs',
    evidence: `kernel ${kernelRelease}`,
    cause: 'a fault of Linux before 5.7 with devices that compute checksums',
    remedy: `${devices.map(offloadOff).join('; ')}, or a newer kernel`,
  }
}

function offloadOff(device: string): string {
  return shellQuote('ethtool', '-K', device, 'tx-checksum-ip-generic', 'off')
}
