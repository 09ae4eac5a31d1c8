/**
 * Decides whether an existing key is this node's own. The evidence, strongest first: the key that this node
 * holds (written by this process, named by its cache or by subnet.env), the MAC of its tunnel device, its
 * public IP. The public IP counts only where the node has no record of an earlier key: addresses move between
 * hosts (DHCP, virtual IPs), and machines are cloned. Where the evidence also fits another host, that host's
 * agent is asked before the key is changed.
 */
import type { Lease } from '../../lease.ts'
import type { LeaseRequest } from '../../store.ts'
import type { EtcdContext } from '../records/context.ts'
import { isHeldBy, NO_LEASE, type Record, readRecord } from '../records/record.ts'
import { macsOf } from './describe.ts'

/** Why a key counts as this node's own, strongest first. */
const evidences = ['written', 'remembered', 'mac', 'publicIp'] as const

export interface Candidate {
  readonly record: Record
  readonly evidence: (typeof evidences)[number]
  /** The evidence also fits another host: see `ask`. */
  readonly isDoubtful: boolean
  /** This node certainly wrote it: it may be removed. */
  readonly isRemovable: boolean
}

/** Keys that may be this node's: the strongest evidence first, then reservations, then the oldest. */
export function candidates(ctx: EtcdContext, request: LeaseRequest, records: readonly Record[]): Candidate[] {
  const all = records.map(record => candidate(ctx, request, record)).filter(one => one !== undefined)
  const remembered = all.filter(({ evidence }) => evidence !== 'publicIp')
  const remembersNothing = ctx.lastSeen.own === undefined && request.previousSubnets.length === 0
  /** A reservation for our public IP that no node has used is ours in any case. */
  const byAddress = ({ record }: Candidate) => remembersNothing || record.lease?.backendType === ''
  const rank = ({ evidence, record }: Candidate) =>
    2 * evidences.indexOf(evidence) + (record.kv.leaseId === NO_LEASE ? 0 : 1)
  return (remembered.length > 0 ? remembered : all.filter(byAddress)).toSorted(
    (a, b) => rank(a) - rank(b) || a.record.kv.createRevision - b.record.kv.createRevision,
  )
}

export function candidate(ctx: EtcdContext, request: LeaseRequest, record: Record): Candidate | undefined {
  const { kv, lease, prefixes } = record
  const { own } = ctx.lastSeen
  const isWritten = ctx.grants.grantedAt(kv.leaseId) !== undefined
  const hasIp = isHeldBy(lease, request.publicIps)
  const ownMacs = request.deviceMacs ?? []
  const hasMac = ownMacs.length === 0 ? undefined : macsOf(lease).some(mac => ownMacs.includes(mac))
  const isInFile = prefixes.some(prefix => request.previousSubnets.includes(prefix))
  const isNamed = isInFile || own?.key === kv.key
  const isRemembered =
    isAsCached(ctx, record) || (isNamed && (hasIp || hasMac === true || lease === undefined))
  const found = [isWritten, isRemembered, hasMac, hasIp].indexOf(true)
  const evidence = evidences[found]
  if (evidence === undefined) return undefined
  // A reboot removes the device and subnet.env, so a clone has neither.
  const isHere = hasIp && (hasMac ?? isInFile)
  const isPublished = lease !== undefined && lease.backendType !== ''
  const isDoubtful = isPublished && !isWritten && !isHere
  return { record, evidence, isDoubtful, isRemovable: isWritten || (hasIp && hasMac === true) }
}

/** The same key as when the cache was written, with the same value or at least the same MAC. */
function isAsCached(ctx: EtcdContext, { kv, lease }: Record): boolean {
  const { own } = ctx.lastSeen
  if (own?.key !== kv.key || own.createRevision !== kv.createRevision) return false
  return own.value === kv.value || hasSameMac(readRecord(ctx.folder, own)?.lease, lease)
}

export function hasSameMac(a: Lease | undefined, b: Lease | undefined): boolean {
  const macs = macsOf(b)
  return macsOf(a).some(mac => macs.includes(mac))
}

/** Whether a lease that etcd has lost was this node's, by its cache, its tunnel device or its subnet.env. */
export function wasOwn(ctx: EtcdContext, request: LeaseRequest, lease: Lease): boolean {
  const { previousSubnets, publicIps, deviceMacs = [] } = request
  const isInFile = lease.subnets.some(({ prefix }) => previousSubnets.includes(prefix))
  return (
    ctx.folder + lease.node === ctx.lastSeen.own?.key ||
    macsOf(lease).some(mac => deviceMacs.includes(mac)) ||
    (isInFile && isHeldBy(lease, publicIps))
  )
}
