/**
 * The format of the lease cache: the last known leases on disk, so that a node that starts while its store is
 * away has its peers. The first line names format and version and holds the checksum of the second line. A
 * file is used as a whole or not at all: any fault is a CacheError, and the node starts without it.
 */

import { createHash } from 'node:crypto'
import { backendDataJson, readBackendData } from '../backend_data.ts'
import { ExpectedError, messageOf } from '../common/errors.ts'
import { asList, asNumber, asObject, asText, MAX_LEASE_BYTES, parseJson } from '../json/json.ts'
import type { Lease, Subnet } from '../lease.ts'
import { familyOf, isOnePerFamily, parseIp } from '../net/ip.ts'
import { parsePrefix } from '../net/prefix.ts'
import { MAX_BACKEND_TYPE } from '../wire.ts'

const FORMAT = 'twill-leases'
const VERSION = 1
/** 5,000 leases are 2 MB. */
export const MAX_CACHE_BYTES = 16 * 1024 * 1024
/** The last date that JavaScript knows (ECMA-262, time values). */
const MAX_DATE_MS = 8.64e15
const MAX_NAME = 300

export interface CachedLeases<Notes = unknown> {
  /** Names the store and the place in it: `etcd /coreos.com/network`. A cache of another scope is refused. */
  readonly scope: string
  /** Unix ms, a valid date, maybe in the future or far past: the node may have no clock of its own. */
  readonly savedAtMs: number
  /** The network config's JSON; undefined where it is not known, or is in a file of its own (Kubernetes). */
  readonly networkConfig: string | undefined
  readonly leases: readonly Lease[]
  /** What the store keeps besides the leases. */
  readonly notes: Notes
}

/** A cache that cannot be used; the remedy is always to start without it. */
export class CacheError extends ExpectedError {
  override name = 'CacheError'
}

/** Throws CacheError where the text is longer than MAX_CACHE_BYTES: it would not be read back. */
export function encodeCache(cached: CachedLeases): string {
  const body = JSON.stringify({ ...cached, leases: cached.leases.map(leaseJson) })
  const text = `${JSON.stringify({ format: FORMAT, version: VERSION, sha256: sha256(body) })}\n${body}\n`
  if (Buffer.byteLength(text) > MAX_CACHE_BYTES)
    throw new CacheError(`${cached.leases.length} leases are more than ${MAX_CACHE_BYTES} bytes`)
  return text
}

function leaseJson({ subnets, ...lease }: Lease): object {
  const subnetJson = (subnet: Subnet) => ({ ...subnet, backendData: backendDataJson(subnet.backendData) })
  return { ...lease, subnets: subnets.map(subnetJson) }
}

/** `readNotes` types the store's own notes, or throws an Error. Throws CacheError and nothing else. */
export function decodeCache<Notes>(
  text: string,
  scope: string,
  readNotes: (notes: unknown) => Notes,
): CachedLeases<Notes> {
  try {
    const fields = asObject('the second line', parseJson(checkedBody(text), MAX_CACHE_BYTES))
    const found = asText('scope', fields.scope, MAX_NAME)
    if (found !== scope) throw new CacheError(`it is of '${found}', not of '${scope}'`)
    return {
      scope,
      savedAtMs: asNumber('savedAtMs', fields.savedAtMs, 0, MAX_DATE_MS),
      networkConfig:
        fields.networkConfig === undefined
          ? undefined
          : asText('networkConfig', fields.networkConfig, MAX_LEASE_BYTES),
      leases: asList('leases', fields.leases).map(lease),
      notes: readNotes(fields.notes),
    }
  } catch (cause) {
    throw new CacheError(messageOf(cause), { cause })
  }
}

/** The second line, after the first line's format, version and checksum were checked. Throws CacheError. */
function checkedBody(text: string): string {
  const [head = '', body = '', rest] = text.split('\n', 3)
  if (rest !== '') throw new CacheError('it is cut short')
  const { format, version, sha256: sum } = asObject('the first line', parseJson(head, MAX_CACHE_BYTES))
  if (format !== FORMAT) throw new CacheError('it is no lease cache')
  if (version !== VERSION)
    throw new CacheError(`it has version ${String(version)}, this program knows ${VERSION}`)
  if (sum !== sha256(body)) throw new CacheError('its checksum is wrong')
  return body
}

function lease(value: unknown): Lease {
  const { node, backendType, subnets, since } = asObject('a lease', value)
  const result = {
    node: asText('node', node, MAX_NAME),
    backendType: asText('backendType', backendType, MAX_BACKEND_TYPE),
    subnets: asList('subnets', subnets).map(subnet),
    since: asNumber('since', since, -MAX_DATE_MS, Number.MAX_VALUE),
  }
  if (!isOnePerFamily(result.subnets.map(({ prefix }) => prefix)))
    throw new CacheError('a lease has not one subnet a family, IPv4 first')
  return result
}

function subnet(value: unknown): Subnet {
  const fields = asObject('a subnet', value)
  const prefix = parsePrefix(asText('prefix', fields.prefix, MAX_NAME))
  const publicIp = parseIp(asText('publicIp', fields.publicIp, MAX_NAME))
  if (familyOf(prefix) !== familyOf(publicIp))
    throw new CacheError(`${publicIp} is not of the family of ${prefix}`)
  return { prefix, publicIp, backendData: readBackendData(fields.backendData) }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
