/**
 * The last known leases on disk, so that a node that starts while its store is away has its peers. A file is believed only
 * as a whole: its first line names format, version and checksum of the second.
 */

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { backendDataJson, readBackendData } from './backend_data.ts'
import { ExpectedError, messageOf } from './common/errors.ts'
import { replaceFile, WholeFileError } from './common/replace_file.ts'
import { parseJson } from './json.ts'
import type { Lease, Subnet } from './lease.ts'
import { familyOf, parseIp } from './net/ip.ts'
import { parsePrefix } from './net/prefix.ts'

const FORMAT = 'twill-leases'
const VERSION = 1
/** 5,000 leases are 2 MB. */
const MAX_CACHE_BYTES = 64 * 1024 * 1024

export interface CachedLeases {
  /** Names the store and the place in it, as `etcd /coreos.com/network`; a cache of another scope is refused. */
  readonly scope: string
  /** Unix ms. */
  readonly savedAtMs: number
  /** The network config's JSON; undefined where it is not the store's. */
  readonly networkConfig: string | undefined
  /** Our own among them. */
  readonly leases: readonly Lease[]
  /** What else that store has to remember; it checks it itself. */
  readonly notes: unknown
}

/** A cache that cannot be used. The message names the file and the reason; the remedy is always to go on without. */
export class CacheError extends ExpectedError {
  override name = 'CacheError'
}

/** Undefined where there is no file. Throws CacheError. */
export async function readCache(file: string, scope: string): Promise<CachedLeases | undefined> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new CacheError(`Cannot read the lease cache ${file}: ${error.message}`, { cause: error })
  })
  if (text === undefined) return undefined
  try {
    const cached = decodeCache(text)
    if (cached.scope !== scope) throw new Error(`it is of '${cached.scope}', not of '${scope}'`)
    return cached
  } catch (cause) {
    const why = messageOf(cause)
    throw new CacheError(`Cannot use the lease cache ${file}: ${why}`, { cause })
  }
}

/** Throws CacheError; the file is then as it was. */
export async function writeCache(file: string, cached: CachedLeases): Promise<void> {
  try {
    await replaceFile(file, encodeCache(cached), 0o600)
  } catch (cause) {
    if (!(cause instanceof WholeFileError)) throw cause
    throw new CacheError(`Cannot save the leases: ${cause.message}`, { cause })
  }
}

export function encodeCache(cached: CachedLeases): string {
  const body = JSON.stringify({ ...cached, leases: cached.leases.map(leaseJson) })
  return `${JSON.stringify({ format: FORMAT, version: VERSION, sha256: sha256(body) })}\n${body}\n`
}

function leaseJson({ subnets, ...lease }: Lease): object {
  const subnetJson = (subnet: Subnet) => ({ ...subnet, backendData: backendDataJson(subnet.backendData) })
  return { ...lease, subnets: subnets.map(subnetJson) }
}

/** Throws an Error that says what is wrong. */
export function decodeCache(text: string): CachedLeases {
  const [head = '', body = '', rest] = text.split('\n')
  if (rest !== '') throw new Error('it is cut short')
  const { format, version, sha256: sum } = object(parseJson(head, MAX_CACHE_BYTES))
  if (format !== FORMAT) throw new Error('it is no lease cache')
  if (version !== VERSION) throw new Error(`it has version ${String(version)}, this program knows ${VERSION}`)
  if (sum !== sha256(body)) throw new Error('its checksum is wrong')
  const { scope, savedAtMs, networkConfig, leases, notes } = object(parseJson(body, MAX_CACHE_BYTES))
  return {
    scope: needed('scope', scope, 'string'),
    savedAtMs: needed('savedAtMs', savedAtMs, 'number'),
    networkConfig: networkConfig === undefined ? undefined : needed('networkConfig', networkConfig, 'string'),
    leases: list('leases', leases).map(lease),
    notes,
  }
}

function lease(value: unknown): Lease {
  const { node, backendType, subnets, since } = object(value)
  return {
    node: needed('node', node, 'string'),
    backendType: needed('backendType', backendType, 'string'),
    subnets: list('subnets', subnets).map(subnet),
    since: needed('since', since, 'number'),
  }
}

function subnet(value: unknown): Subnet {
  const fields = object(value)
  const prefix = parsePrefix(needed('prefix', fields.prefix, 'string'))
  const publicIp = parseIp(needed('publicIp', fields.publicIp, 'string'))
  if (familyOf(prefix) !== familyOf(publicIp))
    throw new Error(`${publicIp} is not of the family of ${prefix}`)
  return { prefix, publicIp, backendData: readBackendData(fields.backendData) }
}

function object(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error('an object is missing')
  return value as Record<string, unknown>
}

function list(name: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error(`${name} is no list`)
  return value
}

function needed(name: string, value: unknown, type: 'string'): string
function needed(name: string, value: unknown, type: 'number'): number
function needed(name: string, value: unknown, type: 'string' | 'number'): string | number {
  if (typeof value === type && (typeof value === 'string' || Number.isFinite(value)))
    return value as string | number
  throw new Error(`${name} is no ${type}`)
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
