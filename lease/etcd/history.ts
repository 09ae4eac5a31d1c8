/**
 * Whether etcd still has the history that a table was read from. A snapshot that is restored starts an older one, whose
 * revisions may have grown past the known ones by the time that a node looks: then only what it holds tells.
 */
import type { LeaseTable } from '../lease.ts'
import type { EtcdClient } from './client.ts'
import { EtcdError } from './error.ts'
import { type KeyValue, keysUnder, oneKey } from './keys.ts'

/** What was written last of these and before. */
export function latest(before: KeyValue | undefined, kvs: readonly KeyValue[]): KeyValue | undefined {
  return kvs.reduce(
    (last, kv) => (last === undefined || kv.modRevision > last.modRevision ? kv : last),
    before,
  )
}

/**
 * Tells the client where the history is another one. `witness` is the key that was written last, as it was then. What a
 * compaction took is not held against etcd.
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

/** What stood there when the witness was written, `none` where nothing of that revision did; undefined where that is compacted. */
async function valueAt(client: EtcdClient, { key, modRevision }: KeyValue, signal: AbortSignal) {
  try {
    const [kv] = (await client.keyAt(key, modRevision, signal)).kvs
    return kv?.modRevision === modRevision ? kv.value : 'none'
  } catch (error) {
    if (error instanceof EtcdError && error.kind === 'compacted') return undefined
    throw error
  }
}

/** A key that was written before that revision and that the table of that revision does not know is of another history. */
export function contradicts(table: LeaseTable, revision: number, kv: KeyValue, node: string): boolean {
  return kv.modRevision <= revision && table.get(node)?.since !== kv.createRevision
}
