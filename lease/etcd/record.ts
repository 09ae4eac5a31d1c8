import { couldBeLeased } from '../allocate.ts'
import type { Lease } from '../lease.ts'
import { familyOf, type Ip } from '../net/ip.ts'
import { overlaps, type Prefix } from '../net/prefix.ts'
import type { NetworkConfig } from '../network_config.ts'
import type { LeaseRequest } from '../store.ts'
import { decodeLease, decodeSubnetKey, encodeLeaseValue, encodeSubnetKey } from '../wire.ts'
import { type Condition, type KeyValue, keysUnder } from './keys.ts'

/** An etcd lease id of 0 is none: the key never runs out, and its subnet is reserved for the public IP in it. */
export const NO_LEASE = '0'

/** A subnet key as it stands in etcd. `lease` is undefined where the value is no lease; the subnet is taken all the same. */
export interface Record {
  readonly kv: KeyValue
  readonly prefixes: readonly Prefix[]
  readonly lease: Lease | undefined
}

/** Undefined where the key names no subnet. */
export function readRecord(folder: string, kv: KeyValue): Record | undefined {
  const key = kv.key.slice(folder.length)
  const prefixes = orUndefined(() => decodeSubnetKey(key))
  if (!prefixes) return undefined
  return { kv, prefixes, lease: orUndefined(() => decodeLease(key, kv.value, kv.createRevision)) }
}

export function readRecords(folder: string, kvs: readonly KeyValue[]): readonly Record[] {
  return kvs.map(kv => readRecord(folder, kv)).filter(record => record !== undefined)
}

/**
 * A node is known by its public IP, in the first family that the lease has in common with it: IPv4 where there is IPv4, so
 * that an IPv6 address that the provider renumbered does not cost the node its subnet.
 */
export function isHeldBy(lease: Lease | undefined, publicIps: readonly Ip[]): boolean {
  for (const { publicIp } of lease?.subnets ?? []) {
    const own = publicIps.find(ip => familyOf(ip) === familyOf(publicIp))
    if (own !== undefined) return own === publicIp
  }
  return false
}

/**
 * The oldest of the records that claims part of these prefixes and was there before that revision. What could not be a lease
 * of this network, a key that covers the whole of it for instance, claims nothing.
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
 * A lease that no etcd lease is attached to, and that never runs out. Where this node knows what stood there `before`, a
 * stray write makes none of it: only what was one, flannel's short form, or the value as this node wrote it is.
 */
export function isReservation(before: KeyValue | undefined, kv: KeyValue, lease: Lease | undefined): boolean {
  if (kv.leaseId !== NO_LEASE) return false
  if (before?.key !== kv.key) return lease !== undefined
  return before.leaseId === NO_LEASE || lease?.backendType === '' || kv.value === before.value
}

/** The subnets that a key takes from the pool: those that could be leased in this network. */
export function taken(network: NetworkConfig, { prefixes }: Record): readonly Prefix[] {
  return prefixes.filter(prefix => couldBeLeased(network, prefix))
}

/**
 * Holds while no key stands for the first prefix, whatever its second is: `10.1.5.0-24` and `10.1.5.0-24&fd00:5::-64` are
 * two keys of which etcd would let both be created.
 */
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

function orUndefined<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch {
    return undefined
  }
}
