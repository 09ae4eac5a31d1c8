import { shellQuote } from '../../../lease/common/shell_quote.ts'
import type { Prefix } from '../../../lease/net/prefix.ts'
import type { FamilyNetwork } from '../../../lease/network_config/network_config.ts'
import { type Json, listOf, objectOf } from '../firewall/nft_json.ts'
import type { HostFacts } from '../host_facts.ts'
import { conntrackSettings } from '../settings.ts'
import type { Found } from './finding.ts'
import type { Patient } from './patient.ts'

/** Share of the table from which new connections are at risk. */
const NEARLY_FULL = 0.9

/** Problems that affect only some of the pods' traffic. */
export function trafficChecks(patient: Patient) {
  return [fullConntrack, directRoutes, masquerading].flatMap(check => check(patient))
}

/** The kernel drops the first packet of a connection for which it has no room. */
function fullConntrack({ facts: { sysctls } }: Patient): Found {
  const { count, max } = conntrackSettings
  const [used, most] = [Number(sysctls[count]), Number(sysctls[max])]
  if (!(most > 0 && used >= most * NEARLY_FULL)) return []
  return {
    check: 'conntrack',
    severity: used >= most ? 'broken' : 'risk',
    what: 'the kernel drops new connections: its table of connections is full, or nearly so',
    evidence: `${count} = ${used}, ${max} = ${most}`,
    cause: 'many short connections, a scan or a flood; or a limit too low for this host',
    remedy: `${shellQuote('sysctl', '-w', `${max}=${most * 2}`)}; conntrack -S, and see who opens them: conntrack -L`,
  }
}

/** A device without neighbors chooses the peer itself and ignores the gateway of a route. */
function directRoutes({ facts, view }: Patient): Found {
  const { underlay, desired } = view
  const device = facts.links.find(({ name }) => name === underlay.name)
  const routes = Array.from(desired.values()).filter(entry => entry.kind === 'route')
  const unicast = routes.filter(route => route.type === 'unicast')
  const direct = unicast.find(({ dev }) => dev === underlay.name)
  if (!device?.noNeighbors || direct === undefined) return []
  return {
    check: 'direct routes',
    severity: 'risk',
    what: `pods' packets leave without a tunnel over ${device.name}, a point-to-point device, which may not know their destination`,
    evidence: `${direct.dst} via ${direct.via} dev ${direct.dev}`,
    cause:
      'host-gw, or DirectRouting, over a VPN: WireGuard delivers by AllowedIPs, not by the gateway of a route',
    remedy: `use Backend vxlan without DirectRouting, or let ${device.name} carry each peer's subnet (AllowedIPs)`,
  }
}

/** Not checked while an agent runs: it writes its rules again within seconds. */
function masquerading({ agent, files, view, facts }: Patient): Found {
  if (agent !== undefined || !files.ipMasq || facts.unseen.some(what => /^'(ip6?tables|nft)/.test(what)))
    return []
  const missing = view.network.families.filter(one => !masquerades(one, facts))
  if (missing.length === 0) return []
  return {
    check: 'masquerading',
    severity: 'risk',
    what: "pods reach nothing outside of the overlay: the agent's firewall rules are gone",
    evidence: `no rule masquerades ${missing.map(({ network }) => network).join(' + ')}, and FLANNEL_IPMASQ is true`,
    cause:
      'a firewall was loaded again (firewalld, ufw, nftables.service), and no agent runs that repairs it',
    remedy: 'start twilld, which writes them again',
  }
}

/** In iptables or in nft, as the agent writes them: what leaves the network, whichever way it goes. */
function masquerades({ network, family }: FamilyNetwork, { iptables, nftables }: HostFacts): boolean {
  const rule = new RegExp(`^-A \\S+ -s ${network.replaceAll('.', '\\.')} .*-j MASQUERADE`, 'm')
  return (
    iptables.some(dump => dump.family === family && rule.test(dump.text)) ||
    listOf(objectOf(nftables).nftables).some(item => nftMasquerades(objectOf(objectOf(item).rule), network))
  )
}

/** kube-proxy's and Docker's rules masquerade other packets: not all that come from the network. */
function nftMasquerades(rule: Json, network: Prefix): boolean {
  const statements = listOf(rule.expr).map(objectOf)
  const isSource = ({ match }: Json) => {
    const { op, left, right } = objectOf(match)
    const { addr, len } = objectOf(objectOf(right).prefix)
    return op === '==' && objectOf(objectOf(left).payload).field === 'saddr' && `${addr}/${len}` === network
  }
  return statements.some(isSource) && statements.some(statement => 'masquerade' in statement)
}
