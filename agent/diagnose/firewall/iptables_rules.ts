import { type Ip, parseIp } from '../../../lease/net/ip.ts'
import { contains, parsePrefix } from '../../../lease/net/prefix.ts'
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
    const bases: { readonly chain: string; readonly policy: string }[] = []
    for (const line of lines) {
      const declared = /^:(\S+) (\S+)/.exec(line)
      if (declared !== null) {
        const [, chain = '', policy = '-'] = declared
        chains.set(chain, [])
        if (policy !== '-') bases.push({ chain, policy })
      }
      const words = splitWords(line)
      if (words[0] === '-A') chains.get(words[1] ?? '')?.push(parseRule(`${name} -t ${table} ${line}`, words))
    }
    for (const { chain, policy } of bases) {
      const hook = hooks[chain]
      if (hook === undefined) continue
      const common = { name: `${name} ${table} ${chain}`, family, hook, priority, entry: chain, chains }
      found.push({ ...common, policy: policy === 'DROP' ? 'drop' : 'accept' })
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
      then = markOf(arguments_[0], words.slice(i)) ?? actionOf(option, arguments_[0] ?? '')
      break
    }
    const condition = conditionOf(option, arguments_)
    if (condition !== undefined) conditions.push(inverted ? not(condition) : condition)
  }
  return { text, then, matches: packet => all(conditions, packet) }
}

/** `-j MARK --set-xmark 0x7/0xff`. */
function markOf(target: string | undefined, [option, argument = '']: readonly string[]): Action | undefined {
  if (target !== 'MARK' || option !== '--set-xmark') return undefined
  const { value, mask } = maskedOf(argument)
  return { verdict: 'mark', value, mask }
}

/** `0x7/0xff`; all bits without a mask. */
function maskedOf(text: string): { readonly value: number; readonly mask: number } {
  const [value, mask = 0xffffffff] = text.split('/').map(Number)
  return { value: value ?? Number.NaN, mask }
}

function actionOf(option: string, target: string): Action {
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
      return ({ protocol }) => equal(value, protocol)
    case '--dport':
    case '--dports':
      return ({ dport }) => among(value, dport)
    case '--mark':
      return ({ mark }) => hasMark(value, mark)
    case '--ctstate':
    case '--state':
      return ({ isAnswer }) => (value.split(',').includes(isAnswer ? 'ESTABLISHED' : 'NEW') ? 'yes' : 'no')
    default:
      return () => 'maybe'
  }
}

function hasMark(text: string, mark = 0): Match {
  const { value, mask } = maskedOf(text)
  return (mark & mask) >>> 0 === value ? 'yes' : 'no'
}

function within(prefixes: string, ip: Ip): Match {
  return prefixes.split(',').some(prefix => holds(prefix, ip)) ? 'yes' : 'no'
}

function holds(prefix: string, ip: Ip): boolean {
  try {
    return prefix.includes('/') ? contains(parsePrefix(prefix), ip) : parseIp(prefix) === ip
  } catch {
    return false
  }
}

/** A trailing `+` matches any rest. */
function sameInterface(pattern: string, name: string | undefined): Match {
  if (name === undefined) return 'no'
  if (name === someInterface) return 'maybe'
  const same = pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : name === pattern
  return same ? 'yes' : 'no'
}

function equal(wanted: string, is: string | undefined): Match {
  if (is === undefined) return 'maybe'
  return wanted === is || wanted === 'all' ? 'yes' : 'no'
}

/** `53,8000:9000`: ports and ranges of them. */
function among(ports: string, port: number | undefined): Match {
  if (port === undefined) return 'maybe'
  const holds = ports.split(',').some(part => {
    const [first = Number.NaN, last = first] = part.split(':').map(Number)
    return first <= port && port <= last
  })
  return holds ? 'yes' : 'no'
}

function not(condition: Condition): Condition {
  const inverse = { yes: 'no', no: 'yes', maybe: 'maybe' } as const
  return packet => inverse[condition(packet)]
}
