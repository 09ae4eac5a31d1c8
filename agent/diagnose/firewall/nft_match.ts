import type { Lookup } from './nft_elements.ts'
import { type Field, fieldsOf } from './nft_fields.ts'
import { elementValue, type Json, listOf, objectOf, statementOf } from './nft_json.ts'
import type { TableSets } from './nft_sets.ts'
import type { Action, Condition, FirewallPacket } from './verdict.ts'

/** The condition of a match statement. */
export function conditionOf({ op, left, right }: Json, sets: TableSets): Condition {
  const fields = fieldsOf(left)
  const set = sets.setOf(right)
  const isRead = ['==', '!=', 'in'].includes(String(op))
  return packet => {
    const values = valuesOf(fields, packet)
    if (values === undefined) return 'no'
    const found = isRead && set !== undefined ? set(values) : 'maybe'
    // The packet may lack a field that is not known here; then no operator matches.
    if (found === 'maybe' || (op === '!=' && values.includes(undefined))) return 'maybe'
    return (found === true) === (op !== '!=') ? 'yes' : 'no'
  }
}

/**
 * The action of a vmap statement, which each packet looks up. A map whose content is not known may accept.
 */
export function mapActionOf({ key, data }: Json, sets: TableSets): Action {
  const fields = fieldsOf(key)
  const map = sets.mapOf(data)
  const actionFor = (packet: FirewallPacket) => {
    const values = valuesOf(fields, packet)
    if (values === undefined) return undefined
    return map === undefined ? 'maybe' : map(values)
  }
  return { verdict: 'map', actionFor }
}

/** Undefined if the packet lacks a field: the rule does not match then. */
function valuesOf(fields: readonly Field[], packet: FirewallPacket): Parameters<Lookup<true>>[0] | undefined {
  const values = fields.map(field => field(packet))
  return values.every(value => value !== null) ? values : undefined
}

/** Most elements of an anonymous set that are printed. */
const PRINTED = 100

/** A statement as nft prints it, nearly. */
export function printStatement(name: string, argument: Json): string {
  if (name === 'jump' || name === 'goto') return `${name} ${argument.target}`
  if (name === 'vmap') return `${printField(argument.key)} vmap ${printSet(argument.data)}`
  if (name !== 'match') return name
  return `${printField(argument.left)} ${argument.op === '!=' ? '!= ' : ''}${printSet(argument.right)}`
}

function printField(left: unknown): string {
  const { concat } = objectOf(left)
  if (concat !== undefined) return listOf(concat).map(printField).join(' . ')
  const [kind, { protocol, field, key, base, offset, len, result, flags }] = statementOf(left)
  if (base !== undefined) return `@${base},${offset},${len}`
  if (kind === 'fib') return `fib ${[flags].flat().join(' . ')} ${result}`
  return `${protocol ?? kind} ${field ?? key ?? ''}`.trimEnd()
}

function printSet(right: unknown): string {
  const { set } = objectOf(right)
  const values = [set ?? right].flat()
  const more = values.length > PRINTED ? ', ...' : ''
  return values.slice(0, PRINTED).map(printElement).join(', ') + more
}

function printElement(element: unknown): string {
  // The element of a map is a pair.
  const value = elementValue(Array.isArray(element) ? element[0] : element)
  if (typeof value !== 'object') return String(value)
  const { range, prefix, concat } = objectOf(value)
  if (range !== undefined) return listOf(range).join('-')
  if (concat !== undefined) return listOf(concat).map(printElement).join(' . ')
  const { addr, len } = objectOf(prefix)
  return addr === undefined ? '...' : `${addr}/${len}`
}
