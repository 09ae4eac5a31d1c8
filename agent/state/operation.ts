import type { Entry, Link } from './entry.ts'
import { printEntry } from './print.ts'

/** One step that makes the kernel truer. A list of them is the drift, and prints. */
export type Operation =
  | { readonly verb: 'add'; readonly entry: Entry }
  /** `was` is what stands in the kernel now under the same key. */
  | { readonly verb: 'replace'; readonly entry: Entry; readonly was: Entry }
  | { readonly verb: 'delete'; readonly entry: Entry }

/** What came of an operation: `error` carries the kernel's own words. */
export interface Result {
  readonly operation: Operation
  readonly error: Error | undefined
}

export function printOperation(operation: Operation): string {
  return `${operation.verb} ${printEntry(operation.entry)}`
}

/**
 * Whether a link must be deleted and recreated to become `desired`: the kernel changes a VXLAN device's MAC, MTU, state
 * and what holds it in place, nothing else (vxlan_nl2conf refuses with EOPNOTSUPP).
 */
export function needsRebuild(was: Link, desired: Link): boolean {
  const { mac, deviceMtu, up, master, protodown } = desired
  const changeable = { mac, deviceMtu, up, master, protodown }
  return printEntry({ ...was, ...changeable }) !== printEntry(desired)
}
