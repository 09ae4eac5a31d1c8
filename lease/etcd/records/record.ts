import { isDeepStrictEqual } from 'node:util'
import { couldBeLeased } from '../../allocate.ts'
import { orUndefined } from '../../common/errors.ts'
import type { Lease } from '../../lease.ts'
import { familyOf, type Ip } from '../../net/ip.ts'
import { overlaps, type Prefix } from '../../net/prefix.ts'
import type { NetworkConfig } from '../../network_config/network_config.ts'
import type { LeaseRequest } from '../../store.ts'
import type { Reading } from '../../table.ts'
import { decodeLease, decodeSubnetKey, encodeLeaseValue, encodeSubnetKey } from '../../wire.ts'
import { type Condition, type Head, type KeyValue, keysUnder } from '../client/keys.ts'
import type { EtcdContext } from './context.ts'
import { readKey, type TableListing } from './table_listing.ts'

/** No etcd lease: the key never expires, its subnet is reserved for the public IP in its value. */
export const NO_LEASE = '0'

/** A subnet key. `lease` is undefined where the value is no lease; the subnet still counts as taken. */
export interface Record {
  readonly kv: KeyValue
  readonly prefixes: readonly Prefix[]
  readonly lease: Lease | undefined
}

/** Undefined where the key names no subnet. */
export function readRecord(folder: string, kv: KeyValue): Record | undefined {
  return recordOf(folder, kv, readKey(folder, kv))
}

function recordOf(folder: string, kv: KeyValue, reading: Reading): Record | undefined {
  const lease = 'reason' in reading ? undefined : reading
  const prefixes =
    lease?.subnets.map(({ prefix }) => prefix) ??
    orUndefined(() => decodeSubnetKey(kv.key.slice(folder.length)))
  return prefixes && { kv, prefixes, lease }
}

export function readRecords(folder: string, kvs: readonly KeyValue[]): readonly Record[] {
  return kvs.map(kv => readRecord(folder, kv)).filter(record => record !== undefined)
}

/**
 * Lists all records, with values only where `needsValue` is true: a foreign value may have 64 KB, while a
 * lease needs 200 bytes. `table` takes what it reads, too.
 */
export async function listRecords(
  { client, folder }: Pick<EtcdContext, 'client' | 'folder'>,
  needsValue: (record: Record) => boolean,
  signal: AbortSignal,
  table?: Pick<TableListing, 'read'>,
): Promise<Head & { readonly records: readonly Record[] }> {
  const read = (kv: KeyValue) => {
    const record = recordOf(folder, kv, table?.read(kv) ?? readKey(folder, kv))
    if (record === undefined || needsValue(record)) return record
    return { ...record, kv: { ...kv, value: '' } }
  }
  const { kvs, ...head } = await client.rangeAs(keysUnder(folder), read, signal)
  return { ...head, records: kvs.filter(record => record !== undefined) }
}

/** By the first family of both, IPv4 where possible: a renumbered IPv6 prefix must not cost the subnet. */
export function isHeldBy(lease: Lease | undefined, publicIps: readonly Ip[]): boolean {
  for (const { publicIp } of lease?.subnets ?? []) {
    const own = publicIps.find(ip => familyOf(ip) === familyOf(publicIp))
    if (own !== undefined) return own === publicIp
  }
  return false
}

/**
 * The oldest record that claims part of these prefixes and is older than the revision. A key that no lease
 * could have, such as all of the network, claims nothing.
 */
export function olderOwner(
  network: NetworkConfig,
  records: readonly Record[],
  prefixes: readonly Prefix[],
  key: string,
  createRevision: number,
): Record | undefined {
  return records
    .filter(({ kv }) => kv.key !== key && kv.createRevision < createRevision)
    .filter(record => taken(network, record).some(theirs => prefixes.some(ours => overlaps(theirs, ours))))
    .sort((a, b) => a.kv.createRevision - b.kv.createRevision)[0]
}

/**
 * Whether the key has no etcd lease, and by intent: it had none `before`, as this node last saw it, or has
 * flannel's short form, or this node's own value. A stray write is none.
 */
export function isReservation(before: KeyValue | undefined, kv: KeyValue, lease: Lease | undefined): boolean {
  if (kv.leaseId !== NO_LEASE) return false
  if (before?.key !== kv.key) return lease !== undefined
  return before.leaseId === NO_LEASE || lease?.backendType === '' || isSameLease(before, lease)
}

/** Compares the leases, not the texts: an operator may write the fields in any order and with spaces. */
function isSameLease(before: KeyValue, lease: Lease | undefined): boolean {
  if (lease === undefined) return false
  return isDeepStrictEqual(
    orUndefined(() => decodeLease(lease.node, before.value, lease.since)),
    lease,
  )
}

/** The subnets that a key takes from the free ones: those that could be leased in this network. */
export function taken(network: NetworkConfig, { prefixes }: Record): readonly Prefix[] {
  return prefixes.filter(prefix => couldBeLeased(network, prefix))
}

/** True while no key has this first prefix, whatever its second: to etcd these are different keys. */
export function vacant(folder: string, prefixes: readonly Prefix[]): Condition {
  return { absent: keysUnder(folder + encodeSubnetKey(prefixes.slice(0, 1))) }
}

export function valueFor(request: LeaseRequest, previous: Lease | undefined): string {
  return encodeLeaseValue({
    publicIps: request.publicIps,
    backendType: request.backendType,
    backendData: request.backendData(previous),
  })
}
