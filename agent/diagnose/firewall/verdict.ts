import type { Family, Ip } from '../../../lease/net/ip.ts'

/** A packet as a firewall sees it: the first of its connection, without a mark. */
export interface FirewallPacket {
  readonly family: Family
  readonly src: Ip
  readonly dst: Ip
  /** Undefined for what the host itself sends. */
  readonly iif: string | undefined
  readonly oif: string | undefined
  /** `tcp`, `udp`, ...; undefined: any. */
  readonly protocol: string | undefined
  readonly dport: number | undefined
}

export type Hook = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting'

/** What a condition says of a packet; `maybe` where it asks for something that is not known here. */
export type Match = 'yes' | 'no' | 'maybe'

/** One condition of a rule. */
export type Condition = (packet: FirewallPacket) => Match

/** All conditions must hold. */
export function all(conditions: readonly Condition[], packet: FirewallPacket): Match {
  const answers = conditions.map(condition => condition(packet))
  if (answers.includes('no')) return 'no'
  return answers.includes('maybe') ? 'maybe' : 'yes'
}

/** One rule, whatever firewall it is of. */
export interface FirewallRule {
  /** As the firewall prints it, its chain first. */
  readonly text: string
  readonly matches: (packet: FirewallPacket) => Match
  /** `next` goes on with the next rule. */
  readonly then: Action
}

export type Action =
  | { readonly verdict: 'accept' | 'drop' }
  | { readonly verdict: 'return' | 'next' }
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
  /** The rule or policy that decides, for a drop; the last accept otherwise. */
  readonly by: string | undefined
  /** Rules that would decide otherwise, if what they ask for is so: with one of them nothing here is certain. */
  readonly perhaps: readonly string[]
}

/** Chains nest; a loop in a ruleset that the kernel would not have loaded must not hang the walk. */
const MAX_DEPTH = 16

/**
 * What happens to a packet at a hook. Every base chain is asked, by priority: one drop is the end, and an accept in one chain
 * does not help against a drop in the next (nft(8), VERDICT STATEMENTS).
 */
export function judge(chains: readonly BaseChain[], hook: Hook, packet: FirewallPacket): Verdict {
  const perhaps: string[] = []
  let by: string | undefined
  const asked = chains.filter(chain => chain.hook === hook && isFor(chain, packet))
  for (const chain of asked.sort((a, b) => a.priority - b.priority)) {
    const end = walk(chain, chain.entry, packet, perhaps, 0)
    const drop = end === undefined ? chain.policy === 'drop' : end.drop
    const decider = end?.by ?? `${chain.name} policy ${chain.policy}`
    if (drop) return { drop, by: decider, perhaps }
    by = decider
  }
  return { drop: false, by, perhaps }
}

function isFor(chain: BaseChain, packet: FirewallPacket): boolean {
  return chain.family === 'both' || chain.family === packet.family
}

interface End {
  readonly drop: boolean
  readonly by: string
}

/** Undefined where the chain has no answer: its caller goes on, or the policy holds. */
function walk(
  base: BaseChain,
  chain: string,
  packet: FirewallPacket,
  perhaps: string[],
  depth: number,
): End | undefined {
  if (depth > MAX_DEPTH) return undefined
  for (const rule of base.chains.get(chain) ?? []) {
    const match = rule.matches(packet)
    if (match === 'no') continue
    const { then } = rule
    if (match === 'maybe') {
      if (then.verdict !== 'next') perhaps.push(rule.text)
      continue
    }
    switch (then.verdict) {
      case 'accept':
      case 'drop':
        return { drop: then.verdict === 'drop', by: rule.text }
      case 'return':
        return undefined
      case 'jump':
      case 'goto': {
        const end = walk(base, then.chain, packet, perhaps, depth + 1)
        if (end !== undefined || then.verdict === 'goto') return end
      }
    }
  }
  return undefined
}
