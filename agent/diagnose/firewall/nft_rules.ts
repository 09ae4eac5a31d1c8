import { actionOf } from './nft_actions.ts'
import { type Json, listOf, objectOf, statementOf } from './nft_json.ts'
import { conditionOf, mapActionOf, printStatement } from './nft_match.ts'
import { parseSets, type TableSets } from './nft_sets.ts'
import { type Action, all, type BaseChain, type Condition, type FirewallRule, type Hook } from './verdict.ts'

/** Families that see pods' packets: libnftables-json(5), table's `family`. */
const families = { ip: 'ipv4', ip6: 'ipv6', inet: 'both', bridge: 'both', netdev: 'both' } as const

/** Base chains that may drop, without iptables-nft's tables, whose rules nft cannot read. */
export function parseNft(ruleset: unknown, keptByIptables: ReadonlySet<string>, text: string): BaseChain[] {
  const devices = parseNftDevices(text)
  const items = listOf(objectOf(ruleset).nftables).map(objectOf)
  const sets = parseSets(items)
  const chains = items.flatMap(item => ('chain' in item ? [objectOf(item.chain)] : []))
  const rules = items.flatMap(item => ('rule' in item ? [objectOf(item.rule)] : []))
  return chains.flatMap(chain => {
    const family = families[chain.family as keyof typeof families]
    const table = `${chain.family} ${chain.table}`
    if (family === undefined || chain.type !== 'filter' || keptByIptables.has(table)) return []
    const inTable = (row: Json) => row.family === chain.family && row.table === chain.table
    const byChain = new Map<string, FirewallRule[]>(chains.filter(inTable).map(row => [String(row.name), []]))
    for (const rule of rules.filter(inTable))
      byChain.get(String(rule.chain))?.push(parseRule(table, rule, sets(table)))
    const base: Omit<BaseChain, 'hook'> = {
      name: `nft ${table} ${chain.name}`,
      family,
      priority: Number(chain.prio),
      policy: chain.policy === 'drop' ? 'drop' : 'accept',
      entry: String(chain.name),
      chains: byChain,
    }
    return hooksOf(chain, devices.get(`${table} ${chain.name}`)).map(hook => ({ ...base, hook }))
  })
}

/** Devices of ingress and egress chains, from `nft list ruleset`: the JSON of nft before 1.0.9 lacks them. */
function parseNftDevices(text: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>()
  let [table, chain] = ['', '']
  for (const line of text.split('\n')) {
    table = /^table (\S+ \S+) \{/.exec(line)?.[1] ?? table
    chain = /^\s+chain (\S+) \{/.exec(line)?.[1] ?? chain
    const [, devices] = /^\s+type \S+ hook (?:in|e)gress devices? (?:= )?(\{[^}]*\}|\S+)/.exec(line) ?? []
    const names = Array.from((devices ?? '').matchAll(/[^\s{},"]+/g), ([name]) => name)
    if (names.length > 0) found.set(`${table} ${chain}`, names)
  }
  return found
}

/** None for a chain without a hook. `devices` are used where the JSON leaves them out. */
function hooksOf({ family, hook, dev }: Json, devices: readonly string[] = []): readonly Hook[] {
  if (hook === 'ingress' || hook === 'egress')
    return (dev === undefined ? devices : [dev].flat()).map((name): Hook => `${hook} ${String(name)}`)
  if (typeof hook !== 'string') return []
  return [(family === 'bridge' ? `bridge ${hook}` : hook) as Hook]
}

function parseRule(table: string, rule: Json, sets: TableSets): FirewallRule {
  const conditions: Condition[] = []
  let then: Action = { verdict: 'next' }
  const parts: string[] = []
  for (const expression of listOf(rule.expr)) {
    const [name, argument] = statementOf(expression)
    const action = name === 'vmap' ? mapActionOf(argument, sets) : actionOf(name, argument)
    if (action !== undefined) then = action
    else if (name === 'match') conditions.push(conditionOf(argument, sets))
    else if (!harmless.has(name)) conditions.push(() => 'maybe')
    if (name !== 'counter') parts.push(printStatement(name, argument))
  }
  const text = `nft ${table} ${rule.chain}: ${parts.join(' ')} (handle ${rule.handle})`
  return { text, then, matches: packet => all(conditions, packet) }
}

/** Statements that continue unconditionally. */
const harmless: ReadonlySet<string> = new Set(['counter', 'comment', 'log', 'mangle', 'notrack', 'meta'])
