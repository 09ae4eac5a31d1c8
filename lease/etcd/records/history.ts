/**
 * Whether etcd still has the history that a table was read from. A restored snapshot starts an older history,
 * whose revision may have passed the known one before this node looks: then only its keys tell.
 */
import type { LeaseTable } from '../../lease.ts'
import type { EtcdClient } from '../client/client.ts'
import { EtcdError } from '../client/error.ts'
import { type KeyValue, keysUnder, oneKey } from '../client/keys.ts'
import type { EtcdContext } from './context.ts'

/** The newest key of these and the one before. */
export function latest(before: KeyValue | undefined, kvs: readonly KeyValue[]): KeyValue | undefined {
  return kvs.reduce(
    (last, kv) => (last === undefined || kv.modRevision > last.modRevision ? kv : last),
    before,
  )
}

/**
 * Tells the client where the history is another one. `witness` is the newest key as it was then. Missing
 * revisions that etcd compacted are no evidence.
 */
export async function checkHistory(
  client: EtcdClient,
  folder: string,
  witness: KeyValue | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (witness === undefined) {
    await client.head(keysUnder(folder), signal)
    return
  }
  const { key, modRevision } = witness
  const [now] = (await client.range(oneKey(key), signal)).kvs
  const isUnchanged = now?.modRevision === modRevision && now.value === witness.value
  if (isUnchanged) return
  if (now === undefined || now.modRevision > modRevision) {
    const before = await valueAt(client, witness, signal)
    if (before === undefined || before === witness.value) return
  }
  client.foundOtherHistory()
}

/**
 * The key's state when the witness was written: `none` where that revision wrote nothing; undefined where
 * compacted.
 */
async function valueAt(client: EtcdClient, { key, modRevision }: KeyValue, signal: AbortSignal) {
  try {
    const [kv] = (await client.keyAt(key, modRevision, signal)).kvs
    return kv?.modRevision === modRevision ? kv.value : 'none'
  } catch (error) {
    if (error instanceof EtcdError && error.kind === 'compacted') return undefined
    throw error
  }
}

/**
 * A key created before that revision which the table of that revision does not know belongs to another
 * history. A missing name proves nothing: its value may have been no lease then.
 */
export function contradicts(table: LeaseTable, revision: number, kv: KeyValue, node: string): boolean {
  const since = table.get(node)?.since
  const stoodThen = since === undefined ? kv.modRevision <= revision : kv.createRevision <= revision
  return stoodThen && since !== kv.createRevision
}

/** Compares our own key in etcd with how this node wrote it: a key's revisions never decrease. */
export function checkOwn({ client, lastSeen }: EtcdContext, kv: KeyValue): void {
  const { ownInHistory: own } = lastSeen
  if (own?.key !== kv.key) return
  if (kv.modRevision < own.modRevision || kv.createRevision < own.createRevision) client.foundOtherHistory()
}
