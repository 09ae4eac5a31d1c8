import { MAX_BACKEND_DATA_BYTES } from '../json.ts'
import { at, textAt } from './path.ts'

/** What this store keeps of a Node: some hundred bytes of its ten thousand. */
export interface NodeObject {
  readonly name: string
  /** Another one is another Node, though the name be the same. */
  readonly uid: string
  readonly resourceVersion: string
  /** creationTimestamp in ms. */
  readonly createdMs: number
  /** Those that this agent reads, by full name; foreign, and cut where no reader would take the whole. */
  readonly annotations: ReadonlyMap<string, string>
  /** podCIDRs, or podCIDR, as written; empty where none is assigned, undefined where the object came without its spec. */
  readonly podCidrs: readonly string[] | undefined
}

/** `spec` and status are 10 KB a Node; metadata is a tenth of it, and all that a lease changes by. */
export type Depth = 'whole' | 'metadata'

/**
 * A Node as it came, whole or as PartialObjectMetadata. Annotations of other names than `keptAnnotations` are left out.
 * An object that is no Node gives undefined.
 */
export function readNode(
  value: unknown,
  depth: Depth,
  keptAnnotations: ReadonlySet<string>,
): NodeObject | undefined {
  const name = textAt(value, 'metadata', 'name')
  const uid = textAt(value, 'metadata', 'uid')
  if (name === undefined || uid === undefined) return undefined
  const created = Date.parse(textAt(value, 'metadata', 'creationTimestamp') ?? '')
  return {
    name,
    uid,
    resourceVersion: textAt(value, 'metadata', 'resourceVersion') ?? '',
    createdMs: Number.isNaN(created) ? 0 : created,
    annotations: ownAnnotations(at(value, 'metadata', 'annotations'), keptAnnotations),
    podCidrs: depth === 'metadata' ? undefined : podCidrs(at(value, 'spec')),
  }
}

/** The list wins over the single value, which is its first member (KEP-563). */
function podCidrs(spec: unknown): readonly string[] {
  const list = at(spec, 'podCIDRs')
  const cidrs = Array.isArray(list) ? list.filter(cidr => typeof cidr === 'string' && cidr !== '') : []
  const single = textAt(spec, 'podCIDR')
  return cidrs.length === 0 && single ? [single] : cidrs
}

function ownAnnotations(value: unknown, kept: ReadonlySet<string>): ReadonlyMap<string, string> {
  const own = new Map<string, string>()
  for (const name of kept) {
    const text = textAt(value, name)
    if (text !== undefined) own.set(name, atMost(text, MAX_BACKEND_DATA_BYTES + 1))
  }
  return own
}

/** Copied: V8 keeps the whole of a text alive for a slice of it, and annotations may have 256 KB. */
function atMost(text: string, length: number): string {
  return text.length <= length ? text : Buffer.from(text.slice(0, length)).toString()
}

/** Who wrote an annotation last, for the log: `kubectl-annotate`. From managedFields, which name no one who removed it. */
export function writerOf(value: unknown, annotation: string): string | undefined {
  const entries = at(value, 'metadata', 'managedFields')
  if (!Array.isArray(entries)) return undefined
  const writers = entries.filter(
    entry => at(entry, 'fieldsV1', 'f:metadata', 'f:annotations', `f:${annotation}`) !== undefined,
  )
  const [last] = writers.toSorted((a, b) => (textAt(b, 'time') ?? '').localeCompare(textAt(a, 'time') ?? ''))
  return textAt(last, 'manager')
}
