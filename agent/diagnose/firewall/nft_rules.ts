import { orUndefined } from '../../../lease/common/errors.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { contains, prefixOf } from '../../../lease/net/prefix.ts'
import {
  type Action,
  all,
  type BaseChain,
  type Condition,
  type FirewallPacket,
  type FirewallRule,
  type Hook,
  someInterface,
} from './verdict.ts'

type Json = Readonly<Record<string, unknown>>

/** Families that see pods' packets: libnftables-json(5), table's `family`. */
const families = { ip: 'ipv4', ip6: 'ipv6', inet: 'both', bridge: 'both', netdev: 'both' } as const

/** Base chains that may drop, without iptables-nft's tables, whose rules nft cannot read. */
export function parseNft(ruleset: unknown, keptByIptables: ReadonlySet<string>, text: string): BaseChain[] {
  const devices = parseNftDevices(text)
  const items = listOf(objectOf(ruleset).nftables).map(objectOf)
  const chains = items.flatMap(item => ('chain' in item ? [objectOf(item.chain)] : []))
  const rules = items.flatMap(item => ('rule' in item ? [objectOf(item.rule)] : []))
  return chains.flatMap(chain => {
    const family = families[chain.family as keyof typeof families]
    const table = `${chain.family} ${chain.table}`
    if (family === undefined || chain.type !== 'filter' || keptByIptables.has(table)) return []
    const inTable = (row: Json) => row.family === chain.family && row.table === chain.table
    const byChain = new Map<string, FirewallRule[]>(chains.filter(inTable).map(row => [String(row.name), []]))
    for (const rule of rules.filter(inTable)) byChain.get(String(rule.chain))?.push(...parseRule(table, rule))
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

/** One rule, or one for each element of its verdict map. */
function parseRule(table: string, rule: Json): readonly FirewallRule[] {
  const conditions: Condition[] = []
  let then: Action = { verdict: 'next' }
  let map: readonly Choice[] = []
  const parts: string[] = []
  for (const expression of listOf(rule.expr).map(objectOf)) {
    const [name, argument] = statementOf(expression)
    const verdict = actionOf(name, argument)
    if (verdict !== undefined) then = verdict
    else if (name === 'match') conditions.push(conditionOf(argument))
    else if (name === 'vmap') map = choicesOf(argument)
    else if (!harmless.has(name)) conditions.push(() => 'maybe')
    if (name !== 'counter') parts.push(printExpression(name, argument))
  }
  const text = `nft ${table} ${rule.chain}: ${parts.join(' ')} (handle ${rule.handle})`
  const rules = map.length > 0 ? map : [{ action: then, when: [] }]
  return rules.map(({ action: then, when }) => ({
    text,
    then,
    matches: packet => all([...conditions, ...when], packet),
  }))
}

/** One element of a verdict map: `ct state vmap { established : accept }`. */
interface Choice {
  readonly when: readonly Condition[]
  readonly action: Action
}

/** A map whose elements cannot be read may accept. */
function choicesOf({ key, data }: Json): readonly Choice[] {
  const unknown: Choice = { when: [() => 'maybe'], action: { verdict: 'accept' } }
  const elements = objectOf(data).set
  if (!Array.isArray(elements)) return [unknown]
  return elements.map(element => {
    const [value, verdict] = listOf(element)
    const action = actionOf(...statementOf(objectOf(verdict)))
    const when = [conditionOf({ op: '==', left: key, right: value })]
    return action === undefined ? unknown : { when, action }
  })
}

/** `{ "jump": { "target": ... } }`: its name and argument. */
function statementOf(statement: Json): readonly [string, Json] {
  const [name = ''] = Object.keys(statement)
  return [name, objectOf(statement[name])]
}

/** Statements that continue unconditionally. */
const harmless: ReadonlySet<string> = new Set(['counter', 'comment', 'log', 'mangle', 'notrack', 'meta'])

function actionOf(name: string, argument: Json): Action | undefined {
  switch (name) {
    case 'accept':
      return { verdict: 'accept' }
    case 'drop':
    case 'reject':
      return { verdict: 'drop' }
    case 'return':
      return { verdict: 'return' }
    case 'jump':
    case 'goto':
      return { verdict: name, chain: String(argument.target) }
    case 'mangle': {
      // `meta mark set 7`.
      const isMark = objectOf(objectOf(argument.key).meta).key === 'mark'
      const { value } = argument
      return isMark && typeof value === 'number' ? { verdict: 'mark', value, mask: 0xffffffff } : undefined
    }
    default:
      return undefined
  }
}

function conditionOf({ op, left, right }: Json): Condition {
  const values = valuesOf(right)
  const field = fieldOf(objectOf(left))
  if (values === undefined || field === undefined || !['==', '!=', 'in'].includes(String(op)))
    return () => 'maybe'
  return packet => {
    const is = field(packet)
    if (is === undefined) return 'maybe'
    if (is === null) return 'no'
    return values.some(value => holds(value, is)) === (op !== '!=') ? 'yes' : 'no'
  }
}

/** One field of a packet: null if the packet has no such field, undefined if its value is not known. */
type Field = (packet: FirewallPacket) => string | null | undefined

const transports: ReadonlySet<string> = new Set(['tcp', 'udp', 'icmp', 'icmpv6', 'sctp', 'dccp', 'udplite'])

/** The field that a match checks; undefined if unknown here. An absent interface is an empty name. */
function fieldOf(left: Json): Field | undefined {
  const { protocol, field } = objectOf(left.payload)
  if (field === 'saddr' || field === 'daddr') {
    const family = protocol === 'ip6' ? 'ipv6' : 'ipv4'
    return packet => (packet.family === family ? packet[field === 'saddr' ? 'src' : 'dst'] : null)
  }
  if (field === 'protocol' || field === 'nexthdr') return ({ protocol: is }) => is
  if (transports.has(String(protocol)) || protocol === 'th')
    return packet => {
      if (protocol !== 'th' && packet.protocol !== protocol) return null
      return field === 'dport' ? packet.dport?.toString() : undefined
    }
  // A packet to a pod's or a node's own address was not translated.
  if (objectOf(left.ct).key === 'status') return () => ''
  if (objectOf(left.ct).key === 'state') return ({ isAnswer }) => (isAnswer ? 'established' : 'new')
  switch (objectOf(left.meta).key) {
    case 'iifname':
    case 'iif':
      return ({ iif }) => nameOf(iif)
    case 'oifname':
    case 'oif':
      return ({ oif }) => nameOf(oif)
    case 'mark':
      return ({ mark }) => String(mark ?? 0)
    case 'l4proto':
      return ({ protocol: is }) => is
    case 'protocol':
      return ({ family }) => ({ ipv4: 'ip', ipv6: 'ip6' })[family]
    case 'nfproto':
      return ({ family }) => family
    default:
      return undefined
  }
}

function nameOf(device: string | undefined): string | undefined {
  return device === someInterface ? undefined : (device ?? '')
}

/** Plain values, ranges of numbers, and sets of them; undefined for named sets and the like. */
function valuesOf(right: unknown): readonly (string | Json)[] | undefined {
  if (typeof right === 'string') return right.startsWith('@') ? undefined : [right]
  if (typeof right === 'number') return [String(right)]
  const set = Array.isArray(right) ? right : objectOf(right).set
  if (Array.isArray(set)) {
    const values = set.map(valuesOf)
    return values.includes(undefined) ? undefined : values.flatMap(value => value ?? [])
  }
  const { prefix, range } = objectOf(right)
  const isNumbers = Array.isArray(range) && range.every(one => typeof one === 'number')
  return prefix !== undefined || isNumbers ? [objectOf(right)] : undefined
}

function holds(value: string | Json, is: string): boolean {
  if (typeof value === 'string') return value.endsWith('*') ? is.startsWith(value.slice(0, -1)) : value === is
  const [first, last] = listOf(value.range).map(Number)
  if (first !== undefined && last !== undefined) return first <= Number(is) && Number(is) <= last
  const { addr, len } = objectOf(value.prefix)
  return orUndefined(() => contains(prefixOf(parseIp(String(addr)), Number(len)), parseIp(is))) ?? false
}

function printExpression(name: string, argument: Json): string {
  if (name !== 'match') return name === 'jump' || name === 'goto' ? `${name} ${argument.target}` : name
  const [kind, { protocol, field, key }] = statementOf(objectOf(argument.left))
  const values = valuesOf(argument.right)?.map(printValue)
  const operator = argument.op === '!=' ? '!= ' : ''
  return `${protocol ?? kind} ${field ?? key ?? ''} ${operator}${values?.join(', ') ?? '...'}`
}

function printValue(value: string | Json): string {
  if (typeof value === 'string') return value
  const { addr, len } = objectOf(value.prefix)
  return Array.isArray(value.range) ? value.range.join('-') : `${addr}/${len}`
}

function objectOf(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {}
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}
