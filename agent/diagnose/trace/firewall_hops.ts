import { familyOf, type Ip } from '../../../lease/net/ip.ts'
import { parseIptables } from '../firewall/iptables_rules.ts'
import { parseNft } from '../firewall/nft_rules.ts'
import { type BaseChain, type FirewallPacket, type Hook, judge, type Verdict } from '../firewall/verdict.ts'
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
  return [...facts.iptables.flatMap(parseIptables), ...parseNft(facts.nftables, kept)]
}

/** The inner packet through this host: `there` towards the peer, `back` from it. */
export function judgeHop(walk: Walk, chains: readonly BaseChain[], way: 'there' | 'back'): Hop[] {
  const { facts, from, to, fromHost } = walk
  const pods = lookUp(facts, { src: undefined, dst: from, iif: undefined }).route?.dev
  const tunnel = wantedRoute(walk)?.dev ?? walk.underlay.name
  const forwarded: readonly Hook[] = ['prerouting', 'forward', 'postrouting']
  if (way === 'there') {
    const hooks: readonly Hook[] = fromHost ? ['output', 'postrouting'] : forwarded
    return hops(chains, hooks, 'firewall', packet(from, to, fromHost ? undefined : pods, tunnel))
  }
  const hooks: readonly Hook[] = fromHost ? ['prerouting', 'input'] : forwarded
  return hops(chains, hooks, 'firewall, answer', packet(to, from, tunnel, fromHost ? undefined : pods))
}

/** The outer packet: out to the peer, and in from it. */
export function inputHop(walk: Walk, chains: readonly BaseChain[]): Hop[] {
  const { facts, peerIp, underlay } = walk
  const device = wantedDevice(walk)
  if (device === undefined || entryOf(walk, 'fdb') === undefined) return []
  const { port, local } = device.vxlan
  const dev = lookUp(facts, { src: undefined, dst: peerIp, iif: undefined }).route?.dev ?? underlay.name
  const udp = { protocol: 'udp', dport: port }
  const out = { ...packet(local, peerIp, undefined, dev), ...udp }
  const back = { ...packet(peerIp, local, dev, undefined), ...udp }
  return [
    ...hops(chains, ['output', 'postrouting'], `firewall, UDP ${port}`, out),
    ...hops(chains, ['prerouting', 'input'], `firewall, UDP ${port} in`, back),
  ]
}

/** Protocol `tcp` on no port that a rule would name: what pods mostly speak. */
function packet(src: Ip, dst: Ip, iif: string | undefined, oif: string | undefined): FirewallPacket {
  return { family: familyOf(dst), src, dst, iif, oif, protocol: 'tcp', dport: 65535 }
}

function hops(
  chains: readonly BaseChain[],
  hooks: readonly Hook[],
  step: string,
  packet: FirewallPacket,
): Hop[] {
  const verdicts = hooks.map(hook => judge(chains, hook, packet))
  const drop = verdicts.find(verdict => verdict.drop)
  const perhaps = verdicts.flatMap(verdict => verdict.perhaps)
  if (drop !== undefined && drop.perhaps.length === 0) return [dropped(step, drop)]
  const by = (drop ?? verdicts.find(verdict => verdict.by !== undefined))?.by ?? 'no rules'
  const used = `${drop === undefined ? 'accepted' : 'perhaps dropped'}: ${by}`
  if (perhaps.length === 0) return [{ step, state: 'ok', used }]
  const why = `${perhaps.length} rules decide by what cannot be judged here: ${perhaps[0]}`
  return [{ step, state: drop === undefined ? 'ok' : 'unknown', used, why }]
}

function dropped(step: string, { by }: Verdict): Hop {
  const why = 'the firewall of this host drops it'
  const remedy =
    'let the network pass before this rule; see which program set it (firewalld, ufw, Docker, an administrator)'
  return { step, state: 'broken', used: `${by}`, why, remedy }
}
