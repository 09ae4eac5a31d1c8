import { createHash } from 'node:crypto'
import { type Family, familyOf } from '../../lease/net/ip.ts'
import { type Prefix, parsePrefix } from '../../lease/net/prefix.ts'
import type { FamilySubnet } from '../../lease/node_subnets.ts'
import { nftOf } from './family_words.ts'

export interface FirewallWish {
  /** Masquerade packets that leave the overlay, and a host's packets into it from an outside address. */
  readonly ipMasq: boolean
  /** Random ports for masqueraded connections: two simultaneous ones can collide on consecutive ports. */
  readonly randomPorts: boolean
  readonly forwardRules: boolean
}

interface Rule {
  /** Matches packets that kube-proxy masquerades: the default --iptables-masquerade-bit is 14. */
  readonly marked?: true
  readonly from?: Side
  readonly to?: Side
  readonly verdict: 'return' | 'accept' | 'masquerade'
}

interface Side {
  readonly prefix: Prefix
  readonly not?: true
}

/** One of our chains in an iptables table, and the kernel's chain that jumps to it. */
export interface IptablesChain {
  readonly table: 'nat' | 'filter'
  readonly parent: 'POSTROUTING' | 'FORWARD'
  readonly chain: string
  /** As `iptables -S` prints them. */
  readonly jump: string
  readonly rules: readonly string[]
}

const multicast: Readonly<Record<Family, Prefix>> = {
  ipv4: parsePrefix('224.0.0.0/4'),
  ipv6: parsePrefix('ff00::/8'),
}

/**
 * Packets between pods keep their source; those that leave the overlay are masqueraded. Packets for a pod of
 * this node keep theirs, and so do those with kube-proxy's mark. Packets of this host from an outside address
 * (to a Service's backend on another node) are masqueraded: else the answer would bypass the tunnel.
 */
function masqueradeRules({ network, subnet }: FamilySubnet): readonly Rule[] {
  const [inside, outside] = [{ prefix: network }, { prefix: network, not: true as const }]
  const pods = { prefix: subnet }
  const notMulticast = { prefix: multicast[familyOf(network)], not: true as const }
  return [
    { marked: true, verdict: 'return' },
    { from: pods, to: inside, verdict: 'return' },
    { from: inside, to: pods, verdict: 'return' },
    { from: outside, to: pods, verdict: 'return' },
    { from: inside, to: notMulticast, verdict: 'masquerade' },
    { from: outside, to: inside, verdict: 'masquerade' },
  ]
}

function forwardRules({ network }: FamilySubnet): readonly Rule[] {
  return [
    { from: { prefix: network }, verdict: 'accept' },
    { to: { prefix: network }, verdict: 'accept' },
  ]
}

/**
 * Further networks of a host suffix flanneld's names of chains and tables: a chain's name has at most 28
 * characters, so it is eight digits of a hash.
 */
export function suffixOf(network: Prefix): string {
  return `-${createHash('sha256').update(network).digest('hex').slice(0, 8)}`
}

/** The prefixes in rules of iptables or nft, without those that the rules of every network have. */
function prefixesIn(text: string): readonly string[] {
  const found = text.match(/(?<![\w:.])(?:\d+(?:\.\d+){3}|[0-9a-f]*:[0-9a-f:]*)\/\d+/g) ?? []
  return [...new Set(found)].filter(prefix => !Object.values<string>(multicast).includes(prefix))
}

/** Whether rules with flanneld's names are another network's: they have prefixes, but none of our own. */
export function isForeign(text: string, own: readonly Prefix[]): boolean {
  const prefixes = prefixesIn(text)
  return prefixes.length > 0 && !prefixes.some(prefix => own.some(one => one === prefix))
}

/** As flanneld's, so that either can take over. A chain without rules is removed, with its jump. */
export function iptablesChains(family: FamilySubnet, wish: FirewallWish, suffix = ''): IptablesChain[] {
  const [masq, forward] = noIptablesChains(suffix)
  const print = ({ chain }: IptablesChain, rules: readonly Rule[], comment: string) =>
    rules.map(rule => `-A ${chain} ${printIptables(rule, comment, wish.randomPorts)}`)
  return [
    { ...masq, rules: wish.ipMasq ? print(masq, masqueradeRules(family), 'flanneld masq') : [] },
    { ...forward, rules: wish.forwardRules ? print(forward, forwardRules(family), 'flanneld forward') : [] },
  ]
}

/** Both chains without rules, which means that they are removed. */
export function noIptablesChains(suffix = ''): readonly [IptablesChain, IptablesChain] {
  const jump = (parent: string, comment: string, chain: string) =>
    `-A ${parent} -m comment --comment "${comment}" -j ${chain}`
  const [masq, forward] = [`FLANNEL-POSTRTG${suffix}`, `FLANNEL-FWD${suffix}`]
  const masqJump = jump('POSTROUTING', 'flanneld masq', masq)
  const forwardJump = jump('FORWARD', 'flanneld forward', forward)
  return [
    { table: 'nat', parent: 'POSTROUTING', chain: masq, jump: masqJump, rules: [] },
    { table: 'filter', parent: 'FORWARD', chain: forward, jump: forwardJump, rules: [] },
  ]
}

/** The words after `-A CHAIN`, in the order in which iptables prints them. */
function printIptables({ marked, from, to, verdict }: Rule, comment: string, randomPorts: boolean): string {
  const side = (flag: string, { prefix, not }: Side) => `${not ? '! ' : ''}${flag} ${prefix}`
  const target = { return: 'RETURN', accept: 'ACCEPT', masquerade: 'MASQUERADE' }[verdict]
  return [
    from === undefined ? [] : side('-s', from),
    to === undefined ? [] : side('-d', to),
    marked ? '-m mark --mark 0x4000/0x4000' : [],
    `-m comment --comment "${comment}" -j ${target}`,
    verdict === 'masquerade' && randomPorts ? '--random-fully' : [],
  ]
    .flat()
    .join(' ')
}

/** Name of our own nftables table for a family: `ip flannel-ipv4`. */
export function nftTable(family: Family, suffix = ''): string {
  return `${nftOf[family]} flannel-${family}${suffix}`
}

/**
 * The table as `nft list table` prints it; undefined where no rules are wanted. flanneld's differs: it does
 * not masquerade a host's packets to remote pods, and sees kube-proxy's mark only where no other bit is set.
 */
export function printNftTable(family: FamilySubnet, wish: FirewallWish, suffix = ''): string | undefined {
  const words = nftOf[familyOf(family.network)]
  const masq = masqueradeRules(family).map(rule => printNft(rule, words, wish.randomPorts))
  const forward = forwardRules(family).map(rule => printNft(rule, words, wish.randomPorts))
  const chains = [
    wish.ipMasq ? nftChain('postrtg', 'type nat hook postrouting priority srcnat', masq) : [],
    wish.forwardRules ? nftChain('forward', 'type filter hook forward priority filter', forward) : [],
  ].filter(chain => chain.length > 0)
  if (chains.length === 0) return undefined
  const body = chains.flatMap((chain, i) => (i === 0 ? chain : ['', ...chain]))
  return [`table ${nftTable(familyOf(family.network), suffix)} {`, ...body, '}', ''].join('\n')
}

function nftChain(name: string, hook: string, rules: readonly string[]): readonly string[] {
  return [`\tchain ${name} {`, `\t\t${hook}; policy accept;`, ...rules.map(rule => `\t\t${rule}`), '\t}']
}

function printNft({ marked, from, to, verdict }: Rule, words: string, randomPorts: boolean): string {
  const side = (name: string, { prefix, not }: Side) => `${words} ${name} ${not ? '!= ' : ''}${prefix}`
  return [
    marked ? 'meta mark & 0x00004000 == 0x00004000' : [],
    from === undefined ? [] : side('saddr', from),
    to === undefined ? [] : side('daddr', to),
    verdict,
    verdict === 'masquerade' && randomPorts ? 'fully-random' : [],
  ]
    .flat()
    .join(' ')
}
