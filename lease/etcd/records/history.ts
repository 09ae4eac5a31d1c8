/**
 * Checks whether etcd still has the history that a table was read from. A restored snapshot starts an older
 * history, whose revision may already be higher than the known one when this node looks: only the keys then
 * show it.
 */
import type { LeaseTable } from '../../lease.ts'
import type { EtcdClient } from '../client/client.ts'
import { EtcdError } from '../client/error.ts'
import { type KeyValue, keysUnder, oneKey } from '../client/keys.ts'
import type { EtcdContext } from './context.ts'

export function latest(before: KeyValue | undefined, kvs: readonly KeyValue[]): KeyValue | undefined {
  return kvs.reduce(
    (last, kv) => (last === undefined || kv.modRevision > last.modRevision ? kv : last),
    before,
  )
}

/** `witness`: the newest key of the known history, as it was. Compacted revisions prove nothing. */
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
    const before = await writeAt(client, witness, signal)
    if (before === undefined || before === witness.value) return
  }
  client.foundOtherHistory()
}

/** The value written at the witness's revision; `none`: it was not written then; undefined: compacted. */
async function writeAt(client: EtcdClient, { key, modRevision }: KeyValue, signal: AbortSignal) {
  try {
    const [kv] = (await client.keyAt(key, modRevision, signal)).kvs
    return kv?.modRevision === modRevision ? kv.value : 'none'
  } catch (error) {
    if (error instanceof EtcdError && error.kind === 'compacted') return undefined
    throw error
  }
}

/**
 * Whether the key proves another history: it existed at the table's revision, but not in the table. Without
 * any lease of the node there, only a key not written since counts: an older value may have been none.
 */
export function contradicts(table: LeaseTable, revision: number, kv: KeyValue, node: string): boolean {
  const since = table.get(node)?.since
  const existedThen = since === undefined ? kv.modRevision <= revision : kv.createRevision <= revision
  return existedThen && since !== kv.createRevision
}

/** Compares our key with what we wrote last: its revision never decreases within one history. */
export function checkOwn({ client, lastSeen }: EtcdContext, kv: KeyValue): void {
  const { ownInHistory: own } = lastSeen
  if (own?.key !== kv.key) return
  if (kv.modRevision < own.modRevision || kv.createRevision < own.createRevision) client.foundOtherHistory()
}
