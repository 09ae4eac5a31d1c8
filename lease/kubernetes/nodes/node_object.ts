import { MAX_BACKEND_DATA_BYTES } from '../../json/json.ts'
import { at, textAt } from '../../json/path.ts'

/**
 * Characters of a Node's name (DNS subdomain), uid and resourceVersion: what is longer no API server wrote.
 */
const LONGEST_NAME = 253
/** podCIDRs that are looked at: a Node has one of each family. */
const MOST_CIDRS = 8

/** What this store keeps of a Node: some hundred bytes of its ten thousand. */
export interface NodeObject {
  readonly name: string
  /** Another one is another Node, though the name be the same. */
  readonly uid: string
  readonly resourceVersion: string
  /** creationTimestamp in ms. */
  readonly createdMs: number
  /** Those that this agent reads; foreign, and cut where no reader would take the whole. */
  readonly annotations: Annotations
  /**
   * podCIDRs, or podCIDR, as written; empty where none is assigned, undefined where the object came without
   * its spec.
   */
  readonly podCidrs: readonly string[] | undefined
}

/**
 * Annotations as one text, a line each: `name "value as JSON"`. A list holds 5,000 of them at a time, and what
 * is kept of a Node afterwards is this text: a Map each would take four times as much, and leave holes in the
 * heap.
 */
export class Annotations {
  /** Differs where any of them does. */
  readonly words: string

  constructor(values: Iterable<readonly [name: string, value: string]>) {
    this.words = Array.from(values, ([name, value]) => `\n${name} ${JSON.stringify(value)}`).join('')
  }

  get(name: string): string | undefined {
    const head = `\n${name} `
    const at = this.words.indexOf(head)
    if (at < 0) return undefined
    const end = this.words.indexOf('\n', at + head.length)
    return JSON.parse(this.words.slice(at + head.length, end < 0 ? undefined : end))
  }

  has(name: string): boolean {
    return this.words.includes(`\n${name} `)
  }
}

/** `spec` and status are 10 KB a Node; metadata is a tenth of it, and all that a lease changes by. */
export type Depth = 'whole' | 'metadata'

/**
 * JSON in which a Node stands, without the Node's status, which is nine tenths of it. `closing`: the brackets
 * that are open where the status stands. Go writes it last.
 */
export function parseWithoutStatus(json: string, closing: string): unknown {
  return parseUpTo(json, ',"status":{', closing)
}

/**
 * An event with a Node's metadata, without its managedFields, which are half of it. Go writes them last; where another
 * program wrote the JSON, something that a Node needs may stand behind them.
 */
export function parseWithoutManagedFields(json: string): unknown {
  return json.endsWith(']}}}') ? parseUpTo(json, ',"managedFields":[', '}}}') : JSON.parse(json)
}

/** An unescaped quote stands in no string: the first such text is the field. */
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
 * A Node as it came, whole or as PartialObjectMetadata. Annotations of other names than `keptAnnotations` are
 * left out. An object that is no Node gives undefined.
 */
export function readNode(
  value: unknown,
  depth: Depth,
  keptAnnotations: ReadonlySet<string>,
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

/** The list wins over the single value, which is its first member (KEP-563). */
function podCidrs(spec: unknown): readonly string[] {
  const list = at(spec, 'podCIDRs')
  const some = Array.isArray(list) ? list.slice(0, MOST_CIDRS) : []
  const cidrs = some.filter(cidr => typeof cidr === 'string' && cidr !== '')
  const single = textAt(spec, 'podCIDR')
  return cidrs.length === 0 && single ? [single] : cidrs
}

/** Annotations may have 256 KB. */
function ownAnnotations(value: unknown, kept: ReadonlySet<string>): Annotations {
  const own: [string, string][] = []
  for (const name of kept) {
    const text = textAt(value, name)
    if (text !== undefined) own.push([name, text.slice(0, MAX_BACKEND_DATA_BYTES + 1)])
  }
  return new Annotations(own)
}

/**
 * Who wrote an annotation last, for the log: `kubectl-annotate`. From managedFields, which name no one who
 * removed it.
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
