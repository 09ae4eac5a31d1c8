/** The types for etcd's key space that the store uses; the library's types stay in calls.ts. */

export interface KeyValue {
  readonly key: string
  readonly value: string
  readonly createRevision: number
  readonly modRevision: number
  /** Id of the etcd lease that the key is attached to; '0' where there is none. */
  readonly leaseId: string
}

export interface Head {
  readonly clusterId: string
  readonly revision: number
}

export interface Listing<T = KeyValue> extends Head {
  readonly kvs: readonly T[]
}

export interface KeyRange {
  readonly from: string
  /** Exclusive; undefined for the one key. */
  readonly to: string | undefined
}

/** True while the key has this mod_revision, or while no key of the range exists. */
export type Condition = { readonly key: string; readonly modRevision: number } | { readonly absent: KeyRange }

export type Change =
  | { readonly put: string; readonly value: string; readonly leaseId: string }
  | { readonly remove: string }
  /** Writes the key with its own value and etcd lease: only its revision changes. It must exist. */
  | { readonly touch: string }

export interface Transaction {
  readonly conditions: readonly Condition[]
  readonly changes: readonly Change[]
  /** Also reads, after the changes, the range's keys created after that revision, without values. */
  readonly createdSince?: { readonly range: KeyRange; readonly revision: number }
}

/** `held`: all conditions were true, and the changes were made. `created`: the answer to `createdSince`. */
export interface Outcome extends Head {
  readonly held: boolean
  readonly created: readonly KeyValue[]
}

export interface WatchBatch extends Head {
  readonly puts: readonly KeyValue[]
  readonly deletes: readonly string[]
  /**
   * Revision of the last event, or 0. `revision` is the store's and may be ahead: a watch that catches up
   * gets 1,000 revisions at a time, each time under the newest (mvcc/watchable_store.go, syncWatchers).
   */
  readonly through: number
}

export function oneKey(key: string): KeyRange {
  return { from: key, to: undefined }
}

/** All keys that start with the text, which must end in an ASCII character. */
export function keysUnder(prefix: string): KeyRange {
  const last = prefix.charCodeAt(prefix.length - 1)
  return { from: prefix, to: prefix.slice(0, -1) + String.fromCharCode(last + 1) }
}
