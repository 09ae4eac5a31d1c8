import type { Family, Ip } from '../../../lease/net/ip.ts'

/** Stands for an interface whose name is not known, such as a bridge's port. */
export const someInterface = '?'

/** A packet as a firewall sees it. */
export interface FirewallPacket {
  readonly family: Family
  readonly src: Ip
  readonly dst: Ip
  /** Undefined for packets from the host itself. */
  readonly iif: string | undefined
  readonly oif: string | undefined
  /** `tcp`, `udp`, ...; undefined: any. */
  readonly protocol: string | undefined
  readonly dport: number | undefined
  /** 0 if undefined. */
  readonly mark?: number
  /** Whether it answers a packet that conntrack has seen; else it is the first of its connection. */
  readonly isAnswer?: boolean
  /** Of a tunnel's packet. */
  readonly vni?: number
  /** Whether a route by `iif` leads to its source. */
  readonly isRoutedBack?: boolean
}

type RoutedHook = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting'

/** `bridge input`: a hook for a bridge's frames. `ingress eth0`: a hook for the packets of one device. */
export type Hook = RoutedHook | `bridge ${RoutedHook}` | `${'ingress' | 'egress'} ${string}`

/** Result of a condition for a packet; `maybe` if it checks something unknown here. */
export type Match = 'yes' | 'no' | 'maybe'

export type Condition = (packet: FirewallPacket) => Match

/** All conditions must hold. */
export function all(conditions: readonly Condition[], packet: FirewallPacket): Match {
  const answers = conditions.map(condition => condition(packet))
  if (answers.includes('no')) return 'no'
  return answers.includes('maybe') ? 'maybe' : 'yes'
}

/** One rule, of any firewall. */
export interface FirewallRule {
  /** As the firewall prints it, its chain first. */
  readonly text: string
  readonly matches: (packet: FirewallPacket) => Match
  /** `next` continues with the next rule. */
  readonly then: Action
}

export type Action =
  | PlainAction
  /** A verdict map. Its answer for a packet is undefined if the map has none. */
  | {
      readonly verdict: 'map'
      readonly actionFor: (packet: FirewallPacket) => PlainAction | 'maybe' | undefined
    }

export type PlainAction =
  | { readonly verdict: 'accept' | 'drop' }
  | { readonly verdict: 'return' | 'next' }
  | { readonly verdict: 'mark'; readonly value: number; readonly mask: number }
  | { readonly verdict: 'jump' | 'goto'; readonly chain: string }

/** One base chain with the chains that it may jump to. */
export interface BaseChain {
  /** `iptables filter FORWARD`, `nft inet filter forward`. */
  readonly name: string
  readonly family: Family | 'both'
  readonly hook: Hook
  readonly priority: number
  readonly policy: 'accept' | 'drop'
  readonly entry: string
  readonly chains: ReadonlyMap<string, readonly FirewallRule[]>
}

export interface Verdict {
  readonly drop: boolean
  /** For a drop the rule or policy that decides; otherwise the last accept. */
  readonly by: string | undefined
  /** Rules that may match and would decide otherwise: if there is one, the verdict is uncertain. */
  readonly perhaps: readonly string[]
  /** The packet's mark after this hook. */
  readonly mark: number
}

/** Limits nested chains: a loop, which the kernel would not load, must not hang the walk. */
const MAX_DEPTH = 16

/**
 * The verdict on a packet at a hook. Every base chain is consulted, by priority: one drop is final, and an
 * accept in one chain does not prevent a drop in the next (nft(8), VERDICT STATEMENTS).
 */
export function judge(chains: readonly BaseChain[], hook: Hook, packet: FirewallPacket): Verdict {
  const passing: Passing = { packet, perhaps: [] }
  let end: End | undefined
  const asked = chains.filter(chain => chain.hook === hook && ['both', packet.family].includes(chain.family))
  for (const chain of asked.sort((a, b) => a.priority - b.priority)) {
    const policy = { drop: chain.policy === 'drop', by: `${chain.name} policy ${chain.policy}` }
    end = walk(chain, chain.entry, passing, 0) ?? policy
    if (end.drop) break
  }
  const { drop = false, by } = end ?? {}
  return { drop, by, perhaps: passing.perhaps, mark: passing.packet.mark ?? 0 }
}

/** A packet on its way through the chains of a hook. */
interface Passing {
  packet: FirewallPacket
  readonly perhaps: string[]
}

interface End {
  readonly drop: boolean
  readonly by: string
}

/** Undefined if the chain does not decide: its caller continues, or the policy applies. */
function walk(base: BaseChain, chain: string, passing: Passing, depth: number): End | undefined {
  if (depth > MAX_DEPTH) return undefined
  for (const rule of base.chains.get(chain) ?? []) {
    const match = rule.matches(passing.packet)
    if (match === 'no') continue
    const then = actionFor(passing.packet, rule.then)
    if (then === 'maybe' || match === 'maybe') {
      if (then === 'maybe' || decides(then)) passing.perhaps.push(rule.text)
      continue
    }
    switch (then.verdict) {
      case 'accept':
      case 'drop':
        return { drop: then.verdict === 'drop', by: rule.text }
      case 'return':
        return undefined
      case 'mark':
        passing.packet = { ...passing.packet, mark: marked(passing.packet, then) }
        continue
      case 'jump':
      case 'goto': {
        const end = walk(base, then.chain, passing, depth + 1)
        if (end !== undefined || then.verdict === 'goto') return end
      }
    }
  }
  return undefined
}

function actionFor(packet: FirewallPacket, then: Action): PlainAction | 'maybe' {
  return then.verdict === 'map' ? (then.actionFor(packet) ?? { verdict: 'next' }) : then
}

function decides({ verdict }: PlainAction): boolean {
  return verdict !== 'next' && verdict !== 'mark'
}

/** MARK --set-xmark of iptables-extensions(8): bits of the mask are zeroed, then the value is XORed in. */
function marked({ mark = 0 }: FirewallPacket, { value, mask }: { value: number; mask: number }): number {
  return ((mark & ~mask) ^ value) >>> 0
}
