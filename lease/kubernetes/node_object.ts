import { at, isRecord, textAt } from './path.ts'

/** What this store keeps of a Node: some hundred bytes of its ten thousand. */
export interface NodeObject {
  readonly name: string
  /** Another one is another Node, though the name be the same. */
  readonly uid: string
  readonly resourceVersion: string
  /** creationTimestamp in ms. */
  readonly createdMs: number
  /** Those under this agent's prefix alone, by full name. */
  readonly annotations: ReadonlyMap<string, string>
  /** podCIDRs, or podCIDR, as written; empty where none is assigned, undefined where the object came without its spec. */
  readonly podCidrs: readonly string[] | undefined
}

/** `spec` and status are 10 KB a Node; metadata is a tenth of it, and all that a lease changes by. */
export type Depth = 'whole' | 'metadata'

/**
 * A Node as it came, whole or as PartialObjectMetadata. `annotationStem` is what the names of our annotations begin with.
 * An object that is no Node gives undefined.
 */
export function readNode(value: unknown, depth: Depth, annotationStem: string): NodeObject | undefined {
  const name = textAt(value, 'metadata', 'name')
  const uid = textAt(value, 'metadata', 'uid')
  if (name === undefined || uid === undefined) return undefined
  const created = Date.parse(textAt(value, 'metadata', 'creationTimestamp') ?? '')
  return {
    name,
    uid,
    resourceVersion: textAt(value, 'metadata', 'resourceVersion') ?? '',
    createdMs: Number.isNaN(created) ? 0 : created,
    annotations: ownAnnotations(at(value, 'metadata', 'annotations'), annotationStem),
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

function ownAnnotations(value: unknown, stem: string): ReadonlyMap<string, string> {
  const own = new Map<string, string>()
  if (!isRecord(value)) return own
  for (const name in value) {
    const text = value[name]
    if (name.startsWith(stem) && typeof text === 'string') own.set(name, text)
  }
  return own
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
