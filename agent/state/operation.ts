import type { Entry, Link } from './entry.ts'
import { printEntry } from './print.ts'

/** One change towards the desired state. A list of them is the drift, and can be printed. */
export type Operation =
  | { readonly verb: 'add'; readonly entry: Entry }
  /** `was`: the entry that the kernel has under this key now. */
  | { readonly verb: 'replace'; readonly entry: Entry; readonly was: Entry }
  | { readonly verb: 'delete'; readonly entry: Entry }

/** The result of an operation; the message of `error` includes the kernel's own. */
export interface Result {
  readonly operation: Operation
  readonly error: Error | undefined
}

export function printOperation(operation: Operation): string {
  return `${operation.verb} ${printEntry(operation.entry)}`
}

/**
 * Whether `was` must be recreated. The kernel changes a VXLAN device's MAC, MTU, state, master and protodown
 * in place, and nothing else (vxlan_nl2conf refuses with EOPNOTSUPP).
 */
export function needsRebuild(was: Link, desired: Link): boolean {
  const { mac, deviceMtu, up, master, protodown } = desired
  const changeable = { mac, deviceMtu, up, master, protodown }
  return printEntry({ ...was, ...changeable }) !== printEntry(desired)
}
