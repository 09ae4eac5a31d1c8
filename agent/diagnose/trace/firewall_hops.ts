import { type Family, familyOf, type Ip } from '../../../lease/net/ip.ts'
import { iptablesOf, nftOf } from '../../firewall/family_words.ts'
import type { Vxlan } from '../../state/entry.ts'
import { parseIptables } from '../firewall/iptables_rules.ts'
import { parseNft } from '../firewall/nft_rules.ts'
import {
  type BaseChain,
  type FirewallPacket,
  type Hook,
  judge,
  someInterface,
  type Verdict,
} from '../firewall/verdict.ts'
import type { HostFacts, LinkFacts } from '../host_facts.ts'
import { lookUp } from '../route_lookup.ts'
import { wantedDevice } from './device_hops.ts'
import type { Hop } from './hop.ts'
import { entryOf, wantedRoute } from './overlay_hops.ts'
import type { Walk } from './walk.ts'

/** All base chains of this host that may drop. They are parsed once: doctor walks to many peers. */
export function verdictChains({ facts }: Pick<Walk, 'facts'>): readonly BaseChain[] {
  const chains = parsed.get(facts) ?? parseChains(facts)
  parsed.set(facts, chains)
  return chains
}

const parsed = new WeakMap<HostFacts, readonly BaseChain[]>()

/** iptables-nft's tables are read once, from iptables-save. */
function parseChains(facts: HostFacts): readonly BaseChain[] {
  const kept = facts.iptables
    .filter(({ command }) => !command.includes('legacy'))
    .flatMap(({ family, text }) => {
      return Array.from(text.matchAll(/^\*(\S+)$/gm), ([, table]) => `${nftOf[family]} ${table}`)
    })
  const nft = parseNft(facts.nftables, new Set(kept), facts.nftText)
  return [...facts.iptables.flatMap(parseIptables), ...nft]
}

/** The inner packet through this host: `there` towards the peer, `back` from it. */
export function judgeHop(walk: Walk, chains: readonly BaseChain[], way: 'there' | 'back'): Hop {
  const { facts, from, to, fromHost, connection = 'opens' } = walk
  const pods = fromHost ? undefined : podDevice(walk)
  const tunnel = wantedRoute(walk)?.dev ?? walk.underlay.name
  if (way === 'there') {
    const inner = { ...packet(from, to, pods?.name, tunnel), isAnswer: connection === 'answers' }
    const routed: readonly Hook[] = fromHost ? ['output'] : [...arriving(pods), 'forward']
    return judged(facts, chains, inner, [...routed, 'postrouting', `egress ${tunnel}`], 'firewall')
  }
  const isAnswer = connection === 'opens' || (connection === 'both' && fromHost)
  const inner = { ...packet(to, from, tunnel, pods?.name), isAnswer }
  const rest: readonly Hook[] = fromHost ? ['input'] : leaving(pods)
  return judged(facts, chains, inner, [`ingress ${tunnel}`, 'prerouting', ...rest], 'firewall, answer')
}

/** The mark that the firewall gives the inner packet before its route is looked up. */
export function markOf(walk: Walk, chains: readonly BaseChain[]): number {
  const { from, to, fromHost } = walk
  const pods = fromHost ? undefined : podDevice(walk)?.name
  return judge(chains, fromHost ? 'output' : 'prerouting', packet(from, to, pods, undefined)).mark
}

function podDevice({ facts, from }: Walk): LinkFacts | undefined {
  const { route } = lookUp(facts, { dst: from })
  return facts.links.find(({ name }) => name === route?.dev)
}

/** Hooks of a packet from a pod: its frame passes the bridge's hooks first. */
function arriving(pods: LinkFacts | undefined): readonly Hook[] {
  if (pods === undefined) return ['prerouting']
  const bridged: readonly Hook[] = pods.kind === 'bridge' ? ['bridge prerouting', 'bridge input'] : []
  return [...bridged, `ingress ${pods.name}`, 'prerouting']
}

function leaving(pods: LinkFacts | undefined): readonly Hook[] {
  if (pods === undefined) return ['forward', 'postrouting']
  const bridged: readonly Hook[] = pods.kind === 'bridge' ? ['bridge output', 'bridge postrouting'] : []
  return ['forward', 'postrouting', `egress ${pods.name}`, ...bridged]
}

/** At a bridge's hooks the packet is a frame, which comes or goes by an unknown port. */
function seenAt(hook: Hook, packet: FirewallPacket): FirewallPacket {
  if (!hook.startsWith('bridge ')) return packet
  const isArriving = hook === 'bridge prerouting' || hook === 'bridge input'
  return isArriving
    ? { ...packet, iif: someInterface, oif: undefined }
    : { ...packet, iif: undefined, oif: someInterface }
}

/** The firewall's verdict on the outer packets: those sent to the peer, and those received from it. */
export function inputHop(walk: Walk, chains: readonly BaseChain[]): Hop[] {
  const { facts, peerIp, underlay } = walk
  const device = wantedDevice(walk)
  if (device === undefined || entryOf(walk, 'fdb') === undefined) return []
  const dev = lookUp(facts, { dst: peerIp }).route?.dev ?? underlay.name
  return tunnelHops(facts, chains, { ...device.vxlan, peer: peerIp, dev })
}

/** One end of a tunnel, and the device by which its outer packets come and go. */
interface TunnelEnd extends Pick<Vxlan, 'vni' | 'port' | 'local'> {
  readonly peer: Ip
  readonly dev: string
}

/** Names of the chains and rules that an agent with --tunnel-filter keeps. */
export const tunnelFilter = /^nft inet twill-/

/** The firewall's verdict on a tunnel's packets, those sent and those received. */
export function tunnelHops(
  facts: HostFacts,
  chains: readonly BaseChain[],
  { vni, port, local, peer, dev }: TunnelEnd,
): Hop[] {
  const udp = { protocol: 'udp', dport: port, vni }
  const out = { ...packet(local, peer, undefined, dev), ...udp }
  const back = { ...packet(peer, local, dev, undefined), ...udp, isRoutedBack: true }
  const step = `firewall, UDP ${port}`
  return [
    judged(facts, chains, out, ['output', 'postrouting', `egress ${dev}`], step),
    judged(facts, chains, back, [`ingress ${dev}`, 'prerouting', 'input'], `${step} in`),
  ]
}

/** `tcp` on a port that no rule names: most pod traffic is TCP. */
function packet(src: Ip, dst: Ip, iif: string | undefined, oif: string | undefined): FirewallPacket {
  return { family: familyOf(dst), src, dst, iif, oif, protocol: 'tcp', dport: 65535 }
}

function judged(
  facts: HostFacts,
  chains: readonly BaseChain[],
  packet: FirewallPacket,
  hooks: readonly Hook[],
  step: string,
): Hop {
  const verdicts = hooks.map(hook => judge(chains, hook, seenAt(hook, packet)))
  const drop = verdicts.find(verdict => verdict.drop)
  const perhaps = verdicts.flatMap(verdict => verdict.perhaps)
  if (drop !== undefined && drop.perhaps.length === 0) return dropped(step, packet, drop)
  const unread = unreadRules(facts, packet.family)
  if (unread !== undefined)
    return { step, state: 'unknown', used: 'the rules were not read', why: unread, remedy: 'run it as root' }
  const by = (drop ?? verdicts.find(verdict => verdict.by !== undefined))?.by ?? 'no rules'
  const used = `${drop === undefined ? 'accepted' : 'perhaps dropped'}: ${by}`
  if (perhaps.length === 0) return { step, state: 'ok', used }
  const rules = perhaps.length === 1 ? '1 rule decides' : `${perhaps.length} rules decide`
  const why = `${rules} by what cannot be judged here: ${perhaps[0]}`
  return { step, state: drop === undefined ? 'ok' : 'unknown', used, why }
}

/** Why the rules were not read. One tool that is not installed is no reason: the other shows the rules. */
function unreadRules({ unseen }: HostFacts, family: Family): string | undefined {
  const tools = new RegExp(`^'(nft|${iptablesOf[family]}-save)\\b`)
  const silent = unseen.filter(what => tools.test(what))
  const failed = silent.find(what => !what.endsWith(': not installed'))
  return failed ?? (silent.length > 1 ? silent.join('; ') : undefined)
}

function dropped(step: string, { src }: FirewallPacket, { by = '' }: Verdict): Hop {
  if (tunnelFilter.test(by)) {
    const why = `the tunnel filter of this host drops it: ${src} is not in its set of peers`
    const remedy =
      'start twilld, which corrects the set, or removes the filter without --tunnel-filter; if it runs, `twill status` says why it does not'
    return { step, state: 'broken', used: by, why, remedy }
  }
  const why = 'the firewall of this host drops it'
  const remedy =
    'let the network pass before this rule; see which program set it (firewalld, ufw, Docker, an administrator)'
  return { step, state: 'broken', used: by, why, remedy }
}
