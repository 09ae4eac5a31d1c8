import { type Ip, ipOrUndefined } from '../../../lease/net/ip.ts'
import { contains, prefixOrUndefined } from '../../../lease/net/prefix.ts'
import type { IptablesDump } from '../host_facts.ts'
import {
  type Action,
  all,
  type BaseChain,
  type Condition,
  type FirewallRule,
  type Hook,
  type Match,
  someInterface,
} from './verdict.ts'

const hooks: Readonly<Record<string, Hook>> = {
  PREROUTING: 'prerouting',
  INPUT: 'input',
  FORWARD: 'forward',
  OUTPUT: 'output',
  POSTROUTING: 'postrouting',
}

/** Only these tables drop: nat only changes addresses. NF_IP_PRI_* of <linux/netfilter_ipv4.h>. */
const priorities: Readonly<Record<string, number>> = { raw: -300, mangle: -150, filter: 0, security: 50 }

/** The base chains of one `iptables-save`. A line that cannot be parsed is a rule that may match. */
export function parseIptables({ family, command, text }: IptablesDump): BaseChain[] {
  const found: BaseChain[] = []
  const name = command.replace('-save', '')
  for (const [table, lines] of tablesOf(text)) {
    const priority = priorities[table]
    if (priority === undefined) continue
    const chains = new Map<string, FirewallRule[]>()
    for (const line of lines) {
      const [, chain, policy = '-'] = /^:(\S+) (\S+)/.exec(line) ?? []
      if (chain !== undefined) {
        chains.set(chain, [])
        const hook = policy === '-' ? undefined : hooks[chain]
        const common = { name: `${name} ${table} ${chain}`, family, priority, entry: chain, chains }
        if (hook) found.push({ ...common, hook, policy: policy === 'DROP' ? 'drop' : 'accept' })
      }
      const words = splitWords(line)
      if (words[0] === '-A') chains.get(words[1] ?? '')?.push(parseRule(`${name} -t ${table} ${line}`, words))
    }
  }
  return found
}

function tablesOf(text: string): Map<string, string[]> {
  const tables = new Map<string, string[]>()
  let lines: string[] = []
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      lines = []
      tables.set(line.slice(1), lines)
    } else lines.push(line)
  }
  return tables
}

/** Words as iptables-save quotes them. */
function splitWords(line: string): string[] {
  return Array.from(line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g), ([, quoted, plain]) => quoted ?? plain ?? '')
}

function parseRule(text: string, words: readonly string[]): FirewallRule {
  const conditions: Condition[] = []
  let then: Action = { verdict: 'next' }
  for (let i = 2; i < words.length; ) {
    const inverted = words[i] === '!'
    if (inverted) i++
    const option = words[i] ?? ''
    const arguments_: string[] = []
    for (i++; i < words.length && !/^(-{1,2}[a-zA-Z]|!$)/.test(words[i] ?? ''); i++)
      arguments_.push(words[i] ?? '')
    if (option === '-j' || option === '-g') {
      then = actionOf(option, arguments_[0] ?? '', words.slice(i))
      break
    }
    const condition = conditionOf(option, arguments_)
    if (condition !== undefined) conditions.push(inverted ? not(condition) : condition)
  }
  return { text, then, matches: packet => all(conditions, packet) }
}

/** `0x7/0xff`; all bits without a mask. */
function maskedOf(text: string): { readonly value: number; readonly mask: number } {
  const [value, mask = 0xffffffff] = text.split('/').map(Number)
  return { value: value ?? Number.NaN, mask }
}

/** `settings` are the words behind the target: `-j MARK --set-xmark 0x7/0xff`. */
function actionOf(option: string, target: string, [setting, value = '']: readonly string[]): Action {
  if (target === 'MARK' && setting === '--set-xmark') return { verdict: 'mark', ...maskedOf(value) }
  if (option === '-g') return { verdict: 'goto', chain: target }
  if (target === 'ACCEPT') return { verdict: 'accept' }
  if (target === 'DROP' || target === 'REJECT') return { verdict: 'drop' }
  if (target === 'RETURN') return { verdict: 'return' }
  // LOG, CT and the like continue; no chain has such a name, so the walk continues too.
  return { verdict: 'jump', chain: target }
}

/** Undefined for options that do not test the packet: a module's name, a comment. */
function conditionOf(option: string, values: readonly string[]): Condition | undefined {
  const value = values[0] ?? ''
  switch (option) {
    case '-m':
    case '--comment':
      return undefined
    case '-s':
      return ({ src }) => within(value, src)
    case '-d':
      return ({ dst }) => within(value, dst)
    case '-i':
      return ({ iif }) => sameInterface(value, iif)
    case '-o':
      return ({ oif }) => sameInterface(value, oif)
    case '-p':
      return ({ protocol }) => (protocol === undefined ? 'maybe' : is(value === protocol || value === 'all'))
    case '--dport':
    case '--dports':
      return ({ dport }) => among(value, dport)
    case '--mark':
      return ({ mark }) => hasMark(value, mark)
    case '--ctstate':
    case '--state':
      return ({ isAnswer }) => is(value.split(',').includes(isAnswer ? 'ESTABLISHED' : 'NEW'))
    default:
      return () => 'maybe'
  }
}

function hasMark(text: string, mark = 0): Match {
  const { value, mask } = maskedOf(text)
  return is((mark & mask) >>> 0 === value)
}

function within(prefixes: string, ip: Ip): Match {
  return is(prefixes.split(',').some(prefix => holds(prefix, ip)))
}

function is(holds: boolean): Match {
  return holds ? 'yes' : 'no'
}

function holds(text: string, ip: Ip): boolean {
  if (!text.includes('/')) return ipOrUndefined(text) === ip
  const prefix = prefixOrUndefined(text)
  return prefix !== undefined && contains(prefix, ip)
}

/** A trailing `+` matches any rest. */
function sameInterface(pattern: string, name: string | undefined): Match {
  if (name === undefined) return 'no'
  if (name === someInterface) return 'maybe'
  return is(pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : name === pattern)
}

/** `53,8000:9000`: ports and ranges of them. */
function among(ports: string, port: number | undefined): Match {
  if (port === undefined) return 'maybe'
  const ranges = ports.split(',').map(part => part.split(':').map(Number))
  return is(ranges.some(([first = Number.NaN, last = first]) => first <= port && port <= last))
}

function not(condition: Condition): Condition {
  const inverse = { yes: 'no', no: 'yes', maybe: 'maybe' } as const
  return packet => inverse[condition(packet)]
}
