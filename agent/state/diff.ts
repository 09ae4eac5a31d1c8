import type { Entry } from './entry.ts'
import type { Operation } from './operation.ts'
import { printsSame } from './print.ts'

/** Entries by `entryKey`. */
export type EntryMap = ReadonlyMap<string, Entry>

/**
 * A device comes before what sits on it; FDB before neighbor before route, for the kernel would ARP for a gateway that it
 * does not know.
 */
const rank = { link: 0, address: 1, fdb: 2, neighbor: 3, route: 4 } as const

/** What must be done for `keys` to stand in the kernel as desired: additions in the order above, then removals in reverse. */
export function diff(keys: Iterable<string>, actual: EntryMap, desired: EntryMap): Operation[] {
  const puts: Operation[] = []
  const removals: Operation[] = []
  for (const key of keys) {
    const want = desired.get(key)
    const was = actual.get(key)
    if (want === undefined) {
      if (was !== undefined) removals.push({ verb: 'delete', entry: was })
    } else if (was === undefined) {
      puts.push({ verb: 'add', entry: want })
    } else if (!printsSame(was, want)) {
      puts.push({ verb: 'replace', entry: want, was })
    }
  }
  const byRank = (a: Operation, b: Operation) => rank[a.entry.kind] - rank[b.entry.kind]
  return [...puts.sort(byRank), ...removals.sort(byRank).reverse()]
}
