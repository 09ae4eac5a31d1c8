import { actionOf } from './nft_actions.ts'
import { type Lookup, lookupIn } from './nft_elements.ts'
import { type Json, listOf, objectOf, statementOf } from './nft_json.ts'
import type { PlainAction } from './verdict.ts'

/** The sets and maps that rules of one table name. Undefined where the content cannot be known. */
export interface TableSets {
  /** The right side of a match: a value, an anonymous set, or the name of a set: `@peers`. */
  readonly setOf: (right: unknown) => Lookup<true> | undefined
  /** The verdicts of a vmap: an anonymous map, or the name of a map. */
  readonly mapOf: (data: unknown) => Lookup<PlainAction> | undefined
}

/** Reads all named sets and maps of a ruleset. The result takes a table's name, such as `inet filter`. */
export function parseSets(items: readonly Json[]): (table: string) => TableSets {
  const changing = changedByPackets(items)
  const sets = new Map<string, Lookup<true>>()
  const maps = new Map<string, Lookup<PlainAction>>()
  for (const item of items) {
    const row = objectOf(item.set ?? item.map)
    const key = `${row.family} ${row.table} ${row.name}`
    if (changing.has(key) || mayExpire(row)) continue
    if ('set' in item) sets.set(key, membersOf(listOf(row.elem)))
    if ('map' in item) maps.set(key, verdictsOf(listOf(row.elem)))
  }
  return table => ({
    setOf: right => {
      const name = nameOf(right)
      if (name !== undefined) return sets.get(`${table} ${name}`)
      const list = Array.isArray(right) ? right : objectOf(right).set
      return membersOf(Array.isArray(list) ? list : [right])
    },
    mapOf: data => {
      const name = nameOf(data)
      if (name !== undefined) return maps.get(`${table} ${name}`)
      const list = objectOf(data).set
      return Array.isArray(list) ? verdictsOf(list) : undefined
    },
  })
}

function nameOf(value: unknown): string | undefined {
  return typeof value === 'string' && value.startsWith('@') ? value.slice(1) : undefined
}

/** Releases of nft print a single flag as array or as text; 1.0.6 does not print `dynamic`. */
function mayExpire({ flags }: Json): boolean {
  return [flags].flat().some(flag => flag === 'dynamic' || flag === 'timeout')
}

/** Sets and maps that a rule changes: `add @seen { ip saddr }`. */
function changedByPackets(items: readonly Json[]): ReadonlySet<string> {
  const found = new Set<string>()
  for (const { family, table, expr } of items.map(item => objectOf(item.rule)))
    for (const statement of listOf(expr)) {
      const name = changedBy(statement)
      if (name !== undefined) found.add(`${family} ${table} ${name}`)
    }
  return found
}

/**
 * The set that a statement changes. nft 1.0.6 has no JSON for the statements of maps and prints their text.
 */
function changedBy(statement: unknown): string | undefined {
  if (typeof statement === 'string') return /^\w+ @(\S+)/.exec(statement)?.[1]
  const [name, argument] = statementOf(statement)
  return name === 'set' || name === 'map' ? nameOf(argument[name]) : undefined
}

function membersOf(values: readonly unknown[]): Lookup<true> {
  return lookupIn(() => values.map(value => [value, true]))
}

function verdictsOf(elements: readonly unknown[]): Lookup<PlainAction> {
  return lookupIn(() =>
    elements.map(element => {
      const [value, verdict] = listOf(element)
      return [value, actionOf(...statementOf(verdict))]
    }),
  )
}
