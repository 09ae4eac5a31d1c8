import type { Lease } from '../../lease/lease.ts'
import { PeerRefusedError } from '../backend/backend.ts'
import type { Entry } from '../state/entry.ts'
import { entryKey } from '../state/print.ts'
import { driftOf } from './diff_document.ts'
import type { NodeView } from './node_view.ts'

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
