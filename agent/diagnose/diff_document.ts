import type { Lease } from '../../lease/lease.ts'
import { contains, networkAddress, overlaps, type Prefix } from '../../lease/net/prefix.ts'
import { PeerRefusedError } from '../backend/backend.ts'
import { diff, type EntryMap } from '../state/diff.ts'
import type { Entry, Route } from '../state/entry.ts'
import { type Operation, printOperation } from '../state/operation.ts'
import { entryKey, printEntry } from '../state/print.ts'
import { printCommands } from './commands.ts'
import type { HostFacts } from './host_facts.ts'
import type { NodeView } from './node_view.ts'
import { lookUp, printTableRoute } from './route_lookup.ts'

export interface DiffDocument {
  /** In the agent's words and order: `add route 10.244.2.0/24 via ...`. */
  readonly operations: readonly string[]
  /** The same as commands of ip and bridge. */
  readonly commands: readonly string[]
  /** Foreign routes that are used instead of the agent's. */
  readonly shadows: readonly { readonly wanted: string; readonly used: string }[]
}

/** The agent's next operations. `actual`: a snapshot of all its kernel entries. */
export function driftOf(desired: EntryMap, actual: readonly Entry[]): readonly Operation[] {
  const standing = new Map(actual.map(entry => [entryKey(entry), entry]))
  return diff(new Set([...desired.keys(), ...standing.keys()]), standing, desired)
}

export function diffDocument(desired: EntryMap, actual: readonly Entry[], facts: HostFacts): DiffDocument {
  const operations = driftOf(desired, actual)
  return {
    operations: operations.map(printOperation),
    commands: operations.flatMap(printCommands),
    shadows: shadowsOf(desired, facts),
  }
}

type Shadow = DiffDocument['shadows'][number]

/** Foreign routes inside a peer's subnet, and rules to another table: they are few. */
function shadowsOf(desired: EntryMap, facts: HostFacts): readonly Shadow[] {
  const wanted = Array.from(desired.values()).filter(entry => entry.kind === 'route')
  const ours = new Set(wanted.map(({ dst }) => dst))
  const suspects: Prefix[] = [
    ...facts.routes.filter(({ table, dst }) => table !== 'local' && !ours.has(dst)).map(({ dst }) => dst),
    ...facts.rules.filter(({ table }) => !usual.has(table ?? '')).flatMap(({ dst }) => (dst ? [dst] : [])),
  ]
  return suspects.flatMap(suspect => {
    const want = wanted.find(({ dst }) => overlaps(dst, suspect))
    return want === undefined ? [] : (shadowOf(want, suspect, facts) ?? [])
  })
}

const usual: ReadonlySet<string> = new Set(['local', 'main', 'default'])

/** Looks up the first address in both prefixes in the kernel's tables. */
function shadowOf(want: Route, suspect: Prefix, facts: HostFacts): Shadow | undefined {
  const dst = networkAddress(contains(want.dst, suspect) ? suspect : want.dst)
  const { route, outcome } = lookUp(facts, { dst })
  const dev = want.type === 'unicast' ? want.dev : undefined
  if (route?.dev === dev) return undefined
  return { wanted: printEntry(want), used: route === undefined ? outcome : printTableRoute(route) }
}

/** Whether the kernel has each lease's entries, by node; without refused leases. */
export function kernelAgreement(view: NodeView, actual: readonly Entry[]): ReadonlyMap<string, boolean> {
  const { self, refused, leases, desired } = view
  if (self === undefined) return new Map()
  const drifted = new Set(driftOf(desired, actual).map(({ entry }) => entryKey(entry)))
  const programmed = [...leases.table.values()].filter(({ node }) => !refused.has(node))
  const agrees = (lease: Lease) => entriesFor(lease, view, self).every(entry => !drifted.has(entryKey(entry)))
  return new Map(programmed.map(lease => [lease.node, agrees(lease)]))
}

function entriesFor(lease: Lease, { backend, underlay }: NodeView, self: Lease): readonly Entry[] {
  if (lease.node === self.node) return backend.ownEntries(self, underlay)
  try {
    return backend.peerEntries(self, lease, underlay)
  } catch (error) {
    if (error instanceof PeerRefusedError) return []
    throw error
  }
}
