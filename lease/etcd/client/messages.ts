/** Converts etcd's messages from and to the types in keys.ts. Pure; bounds the size of every foreign text. */
import { MAX_LEASE_BYTES } from '../../json/json.ts'
import type { ICompare, IKeyValue, IRequestOp, IResponseHeader, IWatchResponse } from './calls.ts'
import type { Change, Condition, Head, KeyRange, KeyValue, WatchBatch } from './keys.ts'

const MAX_KEY_BYTES = 1_024

export function rangeBytes(range: KeyRange): { key: Buffer; range_end?: Buffer } {
  const key = Buffer.from(range.from)
  return range.to === undefined ? { key } : { key, range_end: Buffer.from(range.to) }
}

/** Over a range, `version = 0` is true only where no key of it exists (etcdserver/apply.go, applyCompare). */
export function compare(condition: Condition): ICompare {
  if ('absent' in condition)
    return { ...rangeBytes(condition.absent), target: 'Version', result: 'Equal', version: 0 }
  return {
    key: Buffer.from(condition.key),
    target: 'Mod',
    result: 'Equal',
    mod_revision: condition.modRevision,
  }
}

export function changeOp(change: Change): IRequestOp {
  if ('remove' in change) return { request_delete_range: { key: Buffer.from(change.remove) } }
  if ('touch' in change)
    return { request_put: { key: Buffer.from(change.touch), ignore_value: true, ignore_lease: true } }
  return {
    request_put: {
      key: Buffer.from(change.put),
      value: Buffer.from(change.value),
      lease: change.leaseId,
    },
  }
}

export function keyValue(kv: IKeyValue): KeyValue {
  return {
    key: textOf(kv.key, MAX_KEY_BYTES),
    value: textOf(kv.value, MAX_LEASE_BYTES),
    createRevision: Number(kv.create_revision),
    modRevision: Number(kv.mod_revision),
    leaseId: kv.lease,
  }
}

/** The foreign text, cut to one byte more than allowed: the reader then refuses it. */
function textOf(bytes: Buffer, max: number): string {
  return bytes.toString('utf8', 0, Math.min(bytes.length, max + 1))
}

export function head(header: IResponseHeader): Head {
  return { clusterId: header.cluster_id, revision: Number(header.revision) }
}

/** Within one batch the last event of a key counts. */
export function watchBatch(response: IWatchResponse): WatchBatch {
  if (Number(response.compact_revision) > 0) throw new Error('required revision has been compacted')
  if (response.canceled) throw new Error(response.cancel_reason || 'the server cancelled the watch')
  const last = new Map<string, KeyValue | undefined>()
  for (const event of response.events)
    last.set(textOf(event.kv.key, MAX_KEY_BYTES), event.type === 'Put' ? keyValue(event.kv) : undefined)
  const puts = [...last.values()].filter(kv => kv !== undefined)
  const deletes = [...last].filter(([, kv]) => kv === undefined).map(([key]) => key)
  const newest = Number(response.events.at(-1)?.kv.mod_revision ?? 0)
  // The rest of this revision's events may be in the next response.
  const through = response.fragment && newest > 0 ? newest - 1 : newest
  return { ...head(response.header), puts, deletes, through }
}
