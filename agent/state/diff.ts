import type { Entry } from './entry.ts'
import type { Operation } from './operation.ts'
import { printsSame } from './print.ts'

/** Entries by `entryKey`. */
export type EntryMap = ReadonlyMap<string, Entry>

/** The operations that make `keys` as desired: additions in the order below, then removals in reverse. */
export function diff(keys: Iterable<string>, actual: EntryMap, desired: EntryMap): Operation[] {
  const puts = inOrder()
  const removals = inOrder()
  for (const key of keys) {
    const want = desired.get(key)
    const was = actual.get(key)
    if (want === undefined) {
      if (was !== undefined) removals[was.kind].push({ verb: 'delete', entry: was })
    } else if (was === undefined) {
      puts[want.kind].push({ verb: 'add', entry: want })
    } else if (!printsSame(was, want)) {
      puts[want.kind].push({ verb: 'replace', entry: want, was })
    }
  }
  return [...Object.values(puts).flat(), ...Object.values(removals).flat().reverse()]
}

/** Devices first. A route follows its neighbor: the kernel would send ARP for an unknown gateway. */
function inOrder(): Record<Entry['kind'], Operation[]> {
  return { link: [], address: [], fdb: [], neighbor: [], route: [] }
}
