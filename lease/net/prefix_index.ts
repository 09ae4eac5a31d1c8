import { MultiMap } from '../common/multi_map.ts'
import { type Family, familyOf, ipFromNumber } from './ip.ts'
import {
  networkAddress,
  overlaps,
  type Prefix,
  prefixLength,
  prefixOf,
  prefixRange,
  prefixSize,
} from './prefix.ts'

/**
 * Values by prefix, found by overlap. One table for each prefix length: most networks have one, so a search
 * is one or two look-ups.
 */
export class PrefixIndex<T extends NonNullable<unknown>> {
  readonly #families: Readonly<Record<Family, Map<number, MultiMap<Prefix, T>>>> = {
    ipv4: new Map(),
    ipv6: new Map(),
  }

  add(prefix: Prefix, value: T): void {
    const lengths = this.#families[familyOf(prefix)]
    const length = prefixLength(prefix)
    const table = lengths.get(length) ?? new MultiMap()
    lengths.set(length, table)
    table.add(prefix, value)
  }

  delete(prefix: Prefix, value: T): void {
    const lengths = this.#families[familyOf(prefix)]
    const table = lengths.get(prefixLength(prefix))
    table?.delete(prefix, value)
    if (table?.size === 0) lengths.delete(prefixLength(prefix))
  }

  /** Values whose prefix contains this one or lies inside it; those of an equal prefix too. */
  *overlapping(prefix: Prefix): Iterable<T> {
    for (const [length, table] of this.#families[familyOf(prefix)])
      for (const key of keysIn(prefix, length, table)) yield* table.get(key)
  }
}

type Keys = Pick<MultiMap<Prefix, object>, 'size' | 'keys'>

/** The key that contains the prefix, or all inside it, by counting or by a walk, whichever is shorter. */
function* keysIn(prefix: Prefix, length: number, table: Keys): Iterable<Prefix> {
  const inside = length - prefixLength(prefix)
  if (inside <= 0) {
    yield prefixOf(networkAddress(prefix), length)
  } else if (2 ** inside > table.size) {
    for (const key of table.keys()) if (overlaps(prefix, key)) yield key
  } else {
    const { family, first, last } = prefixRange(prefix)
    const size = prefixSize(family, length)
    for (let at = first; at <= last; at += size) yield prefixOf(ipFromNumber(at, family), length)
  }
}
