import { MAX_BACKEND_DATA_BYTES } from '../../json/json.ts'
import { at, textAt } from '../../json/path.ts'

/**
 * Most characters of a Node's name (DNS subdomain), uid and resourceVersion: no API server writes longer
 * ones.
 */
const LONGEST_NAME = 253
/** Most podCIDRs that are read: a Node has one of each family. */
const MOST_CIDRS = 8

/** The part of a Node that this store keeps: some hundred of its ten thousand bytes. */
export interface NodeObject {
  readonly name: string
  /** A Node with another uid is another Node, even under the same name. */
  readonly uid: string
  readonly resourceVersion: string
  /** creationTimestamp in ms. */
  readonly createdMs: number
  /** The annotations that this agent reads. Foreign; cut to the length that their readers accept. */
  readonly annotations: Annotations
  /**
   * podCIDRs, or podCIDR, as written; empty where none is assigned, undefined where the object came without
   * its spec.
   */
  readonly podCidrs: readonly string[] | undefined
}

/**
 * The annotations of some names, as one text: this text is what is kept of each of 5,000 Nodes. A Map for
 * each would take eight times as much memory, and fragment the heap.
 */
export class Annotations {
  /** A line for each name, in their order: its value as JSON. Equal only where all annotations are equal. */
  readonly text: string
  readonly #names: readonly string[]

  constructor(names: readonly string[], annotationAt: (name: string) => string | undefined) {
    this.text = names.map(name => JSON.stringify(annotationAt(name))).join('\n')
    this.#names = names
  }

  get(name: string): string | undefined {
    const line = this.text.split('\n')[this.#names.indexOf(name)]
    return line ? JSON.parse(line) : undefined
  }

  has(name: string): boolean {
    return this.get(name) !== undefined
  }
}

/**
 * How much of a Node is read. spec and status are 10 KB; metadata are a tenth of it, and every change of a
 * lease shows there.
 */
export type Depth = 'whole' | 'metadata'

/**
 * Parses JSON that contains a Node, without the Node's status, which is nine tenths of it; Go writes the
 * status last. `closing`: the brackets that are open before the status.
 */
export function parseWithoutStatus(json: string, closing: string): unknown {
  return parseUpTo(json, ',"status":{', closing)
}

/**
 * Parses an event with a Node's metadata, without its managedFields, which are half of it. Go writes them
 * last; JSON that another program wrote is parsed whole, because fields that a Node needs may follow them.
 */
export function parseWithoutManagedFields(json: string): unknown {
  return json.endsWith(']}}}') ? parseUpTo(json, ',"managedFields":[', '}}}') : JSON.parse(json)
}

/**
 * Parses the text before `field`. An unescaped quote is in no string, so its first occurrence is the field
 * itself.
 */
function parseUpTo(json: string, field: string, closing: string): unknown {
  const at = json.indexOf(field)
  if (at < 0) return JSON.parse(json)
  try {
    return JSON.parse(json.slice(0, at) + closing)
  } catch {
    return JSON.parse(json)
  }
}

/**
 * Reads a Node, whole or as PartialObjectMetadata, with the annotations in `keptAnnotations` only. Undefined
 * where the object is no Node.
 */
export function readNode(
  value: unknown,
  depth: Depth,
  keptAnnotations: readonly string[],
): NodeObject | undefined {
  const [name, uid] = [nameAt(value, 'name'), nameAt(value, 'uid')]
  if (name === undefined || uid === undefined) return undefined
  const created = Date.parse(textAt(value, 'metadata', 'creationTimestamp') ?? '')
  return {
    name,
    uid,
    resourceVersion: nameAt(value, 'resourceVersion') ?? '',
    createdMs: Number.isNaN(created) ? 0 : created,
    annotations: ownAnnotations(at(value, 'metadata', 'annotations'), keptAnnotations),
    podCidrs: depth === 'metadata' ? undefined : podCidrs(at(value, 'spec')),
  }
}

function nameAt(value: unknown, field: string): string | undefined {
  const text = textAt(value, 'metadata', field)
  return text === undefined || text.length > LONGEST_NAME ? undefined : text
}

/** The list takes precedence over the single value, which is its first member (KEP-563). */
function podCidrs(spec: unknown): readonly string[] {
  const list = at(spec, 'podCIDRs')
  const some = Array.isArray(list) ? list.slice(0, MOST_CIDRS) : []
  const cidrs = some.filter(cidr => typeof cidr === 'string' && cidr !== '')
  const single = textAt(spec, 'podCIDR')
  return cidrs.length === 0 && single ? [single] : cidrs
}

/** Cuts long values: annotations may have 256 KB. */
function ownAnnotations(value: unknown, kept: readonly string[]): Annotations {
  return new Annotations(kept, name => textAt(value, name)?.slice(0, MAX_BACKEND_DATA_BYTES + 1))
}

/**
 * The program that wrote an annotation last, for the log: `kubectl-annotate`. From managedFields, which do
 * not name the program that removed one.
 */
export function writerOf(value: unknown, annotation: string): string | undefined {
  const entries = at(value, 'metadata', 'managedFields')
  if (!Array.isArray(entries)) return undefined
  const writers = entries.filter(
    entry => at(entry, 'fieldsV1', 'f:metadata', 'f:annotations', `f:${annotation}`) !== undefined,
  )
  const [last] = writers.toSorted((a, b) => (textAt(b, 'time') ?? '').localeCompare(textAt(a, 'time') ?? ''))
  return textAt(last, 'manager')
}
