import type { Entry, Link } from './entry.ts'
import { needsRebuild, type Operation } from './operation.ts'
import { entryDevice, printsSame } from './print.ts'

/** Entries by `entryKey`. */
export type EntryMap = ReadonlyMap<string, Entry>

/**
 * A device comes before what sits on it; FDB before neighbor before route, for the kernel would ARP for a gateway that it
 * does not know.
 */
const rank = { link: 0, address: 1, fdb: 2, neighbor: 3, route: 4 } as const

/**
 * What must be done for `keys` to stand in the kernel as desired: additions in the order above, then removals in reverse.
 * A device that is made anew takes its dependants with it, and one that is changed in place may (a new MAC flushes its
 * neighbors, one that was down has lost its routes; an MTU changes nothing else): they count as absent. So a changed link needs the keys of all that sits on it among `keys`.
 */
export function diff(keys: Iterable<string>, actual: EntryMap, desired: EntryMap): Operation[] {
  const puts: Operation[] = []
  const removals: Operation[] = []
  const devices = changedDevices(actual, desired)
  for (const key of keys) {
    const want = desired.get(key)
    const was = actual.get(key)
    const entry = want ?? was
    const fate = entry && devices.get(entryDevice(entry) ?? '')
    if (want === undefined) {
      if (was !== undefined && fate !== 'rebuilt') removals.push({ verb: 'delete', entry: was })
    } else if (was === undefined || (fate !== undefined && want.kind !== 'link')) {
      puts.push({ verb: 'add', entry: want })
    } else if (!printsSame(was, want)) {
      puts.push({ verb: 'replace', entry: want, was })
    }
  }
  const byRank = (a: Operation, b: Operation) => rank[a.entry.kind] - rank[b.entry.kind]
  return [...puts.sort(byRank), ...removals.sort(byRank).reverse()]
}

/** Our own devices about to change in a way that reaches what sits on them, by name. */
function changedDevices(actual: EntryMap, desired: EntryMap): Map<string, 'rebuilt' | 'changed'> {
  const changed = new Map<string, 'rebuilt' | 'changed'>()
  for (const [key, was] of actual) {
    // Snapshots and desired states list links first.
    if (was.kind !== 'link') break
    const want = desired.get(key) as Link | undefined
    if (want === undefined || needsRebuild(was, want)) changed.set(was.name, 'rebuilt')
    else if (was.mac !== want.mac || was.up !== want.up) changed.set(was.name, 'changed')
  }
  return changed
}
