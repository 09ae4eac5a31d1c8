import { type Family, familyOf, type Ip } from '../../../lease/net/ip.ts'
import { parseIptables } from '../firewall/iptables_rules.ts'
import { parseNftDevices } from '../firewall/nft_devices.ts'
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

/** All base chains of this host that may drop. iptables-nft's tables are read once, from iptables-save. */
export function verdictChains({ facts }: Pick<Walk, 'facts'>): readonly BaseChain[] {
  const kept = new Set(
    facts.iptables.flatMap(({ family, command, text }) =>
      command.includes('legacy')
        ? []
        : Array.from(
            text.matchAll(/^\*(\S+)$/gm),
            ([, table]) => `${family === 'ipv6' ? 'ip6' : 'ip'} ${table}`,
          ),
    ),
  )
  return [
    ...facts.iptables.flatMap(parseIptables),
    ...parseNft(facts.nftables, kept, parseNftDevices(facts.nftText)),
  ]
}

/** The inner packet through this host: `there` towards the peer, `back` from it. */
export function judgeHop(walk: Walk, chains: readonly BaseChain[], way: 'there' | 'back'): Hop[] {
  const { from, to, fromHost, connection = 'opens' } = walk
  const pods = fromHost ? undefined : podDevice(walk)
  const tunnel = wantedRoute(walk)?.dev ?? walk.underlay.name
  if (way === 'there') {
    const inner = { ...packet(from, to, pods?.name, tunnel), isAnswer: connection === 'answers' }
    const routed: readonly Asked[] = fromHost
      ? [['output', inner]]
      : [...arriving(pods, inner), ['forward', inner]]
    const all: readonly Asked[] = [...routed, ['postrouting', inner], [`egress ${tunnel}`, inner]]
    return hops(walk, chains, all, 'firewall')
  }
  const isAnswer = connection === 'opens' || (connection === 'both' && fromHost)
  const inner = { ...packet(to, from, tunnel, pods?.name), isAnswer }
  const first: readonly Asked[] = [
    [`ingress ${tunnel}`, inner],
    ['prerouting', inner],
  ]
  const rest: readonly Asked[] = fromHost ? [['input', inner]] : leaving(pods, inner)
  return hops(walk, chains, [...first, ...rest], 'firewall, answer')
}

/** The mark that the firewall gives the inner packet before its route is looked up. */
export function markOf(walk: Walk, chains: readonly BaseChain[]): number {
  const { from, to, fromHost } = walk
  const pods = fromHost ? undefined : podDevice(walk)?.name
  return judge(chains, fromHost ? 'output' : 'prerouting', packet(from, to, pods, undefined)).mark
}

/** A hook, and the packet as it is there. */
type Asked = readonly [Hook, FirewallPacket]

function podDevice({ facts, from }: Walk): LinkFacts | undefined {
  const { route } = lookUp(facts, { src: undefined, dst: from, iif: undefined })
  return facts.links.find(({ name }) => name === route?.dev)
}

/** Hooks of a packet from a pod: its frame passes the bridge's hooks first, by an unknown port. */
function arriving(pods: LinkFacts | undefined, inner: FirewallPacket): readonly Asked[] {
  const frame = { ...inner, iif: someInterface, oif: undefined }
  const bridged: readonly Asked[] = [
    ['bridge prerouting', frame],
    ['bridge input', frame],
  ]
  return [
    ...(pods?.kind === 'bridge' ? bridged : []),
    ...(pods === undefined ? [] : [[`ingress ${pods.name}`, inner] as const]),
    ['prerouting', inner],
  ]
}

/** Hooks of a packet to a pod. */
function leaving(pods: LinkFacts | undefined, inner: FirewallPacket): readonly Asked[] {
  const frame = { ...inner, iif: undefined, oif: someInterface }
  const bridged: readonly Asked[] = [
    ['bridge output', frame],
    ['bridge postrouting', frame],
  ]
  return [
    ['forward', inner],
    ['postrouting', inner],
    ...(pods === undefined ? [] : [[`egress ${pods.name}`, inner] as const]),
    ...(pods?.kind === 'bridge' ? bridged : []),
  ]
}

/** The firewall's verdict on the outer packets: those sent to the peer, and those received from it. */
export function inputHop(walk: Walk, chains: readonly BaseChain[]): Hop[] {
  const { facts, peerIp, underlay } = walk
  const device = wantedDevice(walk)
  if (device === undefined || entryOf(walk, 'fdb') === undefined) return []
  const { port, local } = device.vxlan
  const dev = lookUp(facts, { src: undefined, dst: peerIp, iif: undefined }).route?.dev ?? underlay.name
  return tunnelHops(facts, chains, { port, local, peer: peerIp, dev })
}

/** The outer packets of a tunnel's end, as the firewall of this host sees them on one of its devices. */
interface TunnelEnd {
  readonly port: number
  readonly local: Ip
  readonly peer: Ip
  readonly dev: string
}

/** The firewall's verdict on a tunnel's packets, those sent and those received. */
export function tunnelHops(
  facts: HostFacts,
  chains: readonly BaseChain[],
  { port, local, peer, dev }: TunnelEnd,
): Hop[] {
  const udp = { protocol: 'udp', dport: port }
  const out = { ...packet(local, peer, undefined, dev), ...udp }
  const back = { ...packet(peer, local, dev, undefined), ...udp }
  const sent: readonly Asked[] = [
    ['output', out],
    ['postrouting', out],
    [`egress ${dev}`, out],
  ]
  const received: readonly Asked[] = [
    [`ingress ${dev}`, back],
    ['prerouting', back],
    ['input', back],
  ]
  return [
    ...hops({ facts, to: peer }, chains, sent, `firewall, UDP ${port}`),
    ...hops({ facts, to: peer }, chains, received, `firewall, UDP ${port} in`),
  ]
}

/** `tcp` on a port that no rule names: most pod traffic is TCP. */
function packet(src: Ip, dst: Ip, iif: string | undefined, oif: string | undefined): FirewallPacket {
  return { family: familyOf(dst), src, dst, iif, oif, protocol: 'tcp', dport: 65535 }
}

function hops(
  { facts, to }: Pick<Walk, 'facts' | 'to'>,
  chains: readonly BaseChain[],
  asked: readonly Asked[],
  step: string,
): Hop[] {
  const verdicts = asked.map(([hook, packet]) => judge(chains, hook, packet))
  const drop = verdicts.find(verdict => verdict.drop)
  const perhaps = verdicts.flatMap(verdict => verdict.perhaps)
  if (drop !== undefined && drop.perhaps.length === 0) return [dropped(step, drop)]
  const unread = unreadRules(facts, familyOf(to))
  if (unread !== undefined)
    return [
      { step, state: 'unknown', used: 'the rules were not read', why: unread, remedy: 'run it as root' },
    ]
  const by = (drop ?? verdicts.find(verdict => verdict.by !== undefined))?.by ?? 'no rules'
  const used = `${drop === undefined ? 'accepted' : 'perhaps dropped'}: ${by}`
  if (perhaps.length === 0) return [{ step, state: 'ok', used }]
  const why = `${perhaps.length} rules decide by what cannot be judged here: ${perhaps[0]}`
  return [{ step, state: drop === undefined ? 'ok' : 'unknown', used, why }]
}

/**
 * Why the rules of this family are not known; undefined if they were read. One tool that is not installed is
 * no reason: the other tool shows the rules.
 */
function unreadRules({ unseen }: HostFacts, family: Family): string | undefined {
  const tools = family === 'ipv6' ? /^'(nft|ip6tables-save)\b/ : /^'(nft|iptables-save)\b/
  const silent = unseen.filter(what => tools.test(what))
  const failed = silent.find(what => !what.endsWith(': not installed'))
  return failed ?? (silent.length > 1 ? silent.join('; ') : undefined)
}

function dropped(step: string, { by }: Verdict): Hop {
  const why = 'the firewall of this host drops it'
  const remedy =
    'let the network pass before this rule; see which program set it (firewalld, ufw, Docker, an administrator)'
  return { step, state: 'broken', used: `${by}`, why, remedy }
}
