import { createHash } from 'node:crypto'
import { asList, asNumber, asObject, asText, JsonError, MAX_LEASE_BYTES } from '../../json/json.ts'
import type { EtcdOptions } from '../../options.ts'
import { normalEndpoint } from '../client/endpoint.ts'
import type { Head, KeyValue } from '../client/keys.ts'

const MAX_TEXT = 1024
/** Longer than any grace period. */
const MAX_MS = 1e12

/** What an etcd store writes into the cache besides the leases. */
export interface Notes {
  readonly endpoints: readonly string[]
  readonly at: Head | undefined
  /** Our own key as we wrote it last. */
  readonly own: KeyValue | undefined
  /** Ms left for each peer that is kept after etcd lost its data, by name. */
  readonly remembered: readonly (readonly [string, number])[]
}

/** A cache belongs to a store with one of these names: a join token's hash stays wherever its etcd moves. */
export function storeNames({ endpoints, joinSecret }: EtcdOptions): readonly string[] {
  const all = endpoints.map(normalEndpoint)
  if (joinSecret === undefined) return all
  const hash = createHash('sha256').update('twill network').update(joinSecret).digest('hex')
  return [...all, `network ${hash.slice(0, 16)}`]
}

/** Reads the notes, which are foreign input. Throws JsonError. */
export function readNotes(value: unknown): Notes {
  const notes = asObject('notes', value)
  const remembered = asList('remembered', notes.remembered).map((entry): [string, number] => {
    const [node, ms] = asList('a remembered peer', entry)
    return [asText('a remembered peer', node, MAX_TEXT), asNumber('its time', ms, -Number.MAX_VALUE, MAX_MS)]
  })
  return {
    endpoints: asList('endpoints', notes.endpoints).map(it => asText('an endpoint', it, MAX_TEXT)),
    at: notes.at === undefined ? undefined : readHead(notes.at),
    own: notes.own === undefined ? undefined : readKeyValue(notes.own),
    remembered,
  }
}

function readHead(value: unknown): Head {
  const { clusterId, revision } = asObject('at', value)
  return { clusterId: asText('clusterId', clusterId, MAX_TEXT), revision: readRevision('revision', revision) }
}

function readKeyValue(value: unknown): KeyValue {
  const own = asObject('own', value)
  const leaseId = asText('leaseId', own.leaseId, MAX_TEXT)
  if (!/^-?\d+$/.test(leaseId)) throw new JsonError('leaseId is no number')
  return {
    key: asText('key', own.key, MAX_TEXT),
    value: asText('value', own.value, MAX_LEASE_BYTES),
    createRevision: readRevision('createRevision', own.createRevision),
    modRevision: readRevision('modRevision', own.modRevision),
    leaseId,
  }
}

function readRevision(name: string, value: unknown): number {
  return asNumber(name, value, 0, Number.MAX_SAFE_INTEGER)
}
