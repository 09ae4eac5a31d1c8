import { familyBits, familyOf, ipOrUndefined, ipToNumber } from '../../../lease/net/ip.ts'
import { prefixSize } from '../../../lease/net/prefix.ts'
import { elementValue, type Json, listOf, objectOf } from './nft_json.ts'

/** A packet's values of the fields that a set has, undefined where not known. */
type Values = readonly (string | undefined)[]

/**
 * What a map holds for these values, or `true` for a set; undefined if they are not in it, `maybe` if that
 * depends on what is not known.
 */
export type Lookup<T> = (values: Values) => T | 'maybe' | undefined

/**
 * Looks values up in the elements of a set or map; an element whose value is undefined cannot be read. Sets
 * have many thousands of elements: they are parsed at the first packet, once.
 */
export function lookupIn<T>(elements: () => Iterable<readonly [unknown, T | undefined]>): Lookup<T> {
  let index: Index<T> | undefined
  return values => {
    index ??= indexOf(elements())
    return find(index, values)
  }
}

interface Index<T> {
  /** Whether every element could be read. */
  readonly isComplete: boolean
  readonly all: readonly Element<T>[]
  /** Those without intervals and wildcards, by their values. */
  readonly exact: ReadonlyMap<string, T>
  /** Those of sets with a single field, the lowest first. The kernel refuses intervals that overlap. */
  readonly intervals: readonly (Interval & { readonly value: T })[]
  /** The rest: concatenations with an interval, and wildcards. */
  readonly others: readonly Element<T>[]
}

/** One element, with a part for each field. */
interface Element<T> {
  readonly parts: readonly Part[]
  readonly value: T
}

/** A value, an interval, or the start of a name: `eth*`. The start of `*`, which matches all, is empty. */
type Part = string | Interval | { readonly start: string }

/** Addresses, ports or marks as numbers; both ends are included. */
interface Interval {
  readonly first: bigint
  readonly last: bigint
}

const separator = ' . '

function indexOf<T>(elements: Iterable<readonly [unknown, T | undefined]>): Index<T> {
  let isComplete = true
  const [all, others]: [Element<T>[], Element<T>[]] = [[], []]
  const exact = new Map<string, T>()
  const intervals: (Interval & { value: T })[] = []
  for (const [element, value] of elements) {
    const parts = partsOf(element)
    if (parts === undefined || value === undefined) {
      isComplete = false
      continue
    }
    all.push({ parts, value })
    const [part] = parts
    if (parts.every(one => typeof one === 'string')) exact.set(parts.join(separator), value)
    else if (parts.length === 1 && typeof part === 'object' && 'first' in part)
      intervals.push({ ...part, value })
    else others.push({ parts, value })
  }
  intervals.sort((a, b) => (a.first < b.first ? -1 : 1))
  return { isComplete, all, exact, intervals, others }
}

/** Undefined for what cannot be read. */
function partsOf(element: unknown): readonly Part[] | undefined {
  const value = elementValue(element)
  const { concat } = objectOf(value)
  const parts = (concat === undefined ? [value] : listOf(concat)).map(partOf)
  return parts.every(part => part !== undefined) ? parts : undefined
}

function partOf(value: unknown): Part | undefined {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (typeof value === 'string') return value.endsWith('*') ? { start: value.slice(0, -1) } : canonical(value)
  const { range, prefix } = objectOf(value)
  const [first, last] = listOf(range).map(end => numberOf(String(end)))
  if (first !== undefined && last !== undefined) return { first, last }
  return prefix === undefined ? undefined : intervalOf(objectOf(prefix))
}

function intervalOf({ addr, len }: Json): Interval | undefined {
  const ip = ipOrUndefined(String(addr))
  if (ip === undefined || typeof len !== 'number') return undefined
  const family = familyOf(ip)
  if (!Number.isInteger(len) || len < 0 || len > familyBits(family)) return undefined
  const first = ipToNumber(ip)
  return { first, last: first + prefixSize(family, len) - 1n }
}

/** nft prints the last bytes of some IPv6 addresses as in IPv4: `::ffff:192.0.2.1`. */
function canonical(text: string): string {
  return text.includes(':') && text.includes('.') ? (ipOrUndefined(text) ?? text) : text
}

function numberOf(text: string): bigint | undefined {
  if (/^\d{1,20}$/.test(text)) return BigInt(text)
  const ip = ipOrUndefined(text)
  return ip === undefined ? undefined : ipToNumber(ip)
}

function find<T>(index: Index<T>, values: Values): T | 'maybe' | undefined {
  const known = values.filter(value => value !== undefined)
  const isKnown = known.length === values.length
  const exact = isKnown ? index.exact.get(known.join(separator)) : undefined
  if (exact !== undefined) return exact
  const wanted = values.map(toWanted)
  const interval = wanted.length === 1 ? intervalWith(index.intervals, wanted[0]?.number) : undefined
  if (interval !== undefined) return interval.value
  const mayBe = ({ parts }: Element<T>) => parts.every((part, i) => mayHold(part, wanted[i]))
  const found = (isKnown ? index.others : index.all).find(mayBe)
  if (found !== undefined) return isKnown ? found.value : 'maybe'
  return index.isComplete ? undefined : 'maybe'
}

/** A value as text and, where it has an order, as number. */
interface Wanted {
  readonly text: string
  readonly number: bigint | undefined
}

function toWanted(text: string | undefined): Wanted | undefined {
  return text === undefined ? undefined : { text, number: numberOf(text) }
}

/** Finds the interval that holds the number, by bisection. */
function intervalWith<T extends Interval>(sorted: readonly T[], number: bigint | undefined): T | undefined {
  if (number === undefined) return undefined
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle]?.first ?? 0n) <= number) low = middle + 1
    else high = middle
  }
  const last = sorted[low - 1]
  return last !== undefined && number <= last.last ? last : undefined
}

function mayHold(part: Part, wanted: Wanted | undefined): boolean {
  if (wanted === undefined) return true
  const { text, number } = wanted
  if (typeof part === 'string') return part === text
  if ('start' in part) return text.startsWith(part.start)
  return number !== undefined && part.first <= number && number <= part.last
}
