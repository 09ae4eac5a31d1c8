import { randomUUID } from 'node:crypto'

/** A Node as the API server holds it. */
export interface RawNode {
  apiVersion: 'v1'
  kind: 'Node'
  metadata: {
    name: string
    uid: string
    resourceVersion: string
    creationTimestamp: string
    annotations: Record<string, string>
    managedFields?: unknown[]
  }
  spec: { podCIDR?: string; podCIDRs?: string[] }
  status: { conditions: Record<string, string>[]; [key: string]: unknown }
}

export interface NodeSeed {
  readonly name: string
  readonly podCidrs?: readonly string[]
  readonly annotations?: Readonly<Record<string, string>>
  /** RFC 3339; by default now. */
  readonly created?: string
  /** More content, to make a Node as large as a real one. */
  readonly ballast?: { readonly managedFields?: unknown[]; readonly status?: Record<string, unknown> }
}

export type EventType = 'ADDED' | 'MODIFIED' | 'DELETED'

export interface HistoryEntry {
  readonly version: number
  readonly type: EventType
  readonly name: string
  readonly stored: StoredNode
}

/** One version of a Node. Its JSON is made once for all requests. */
export class StoredNode {
  readonly raw: RawNode
  #whole: string | undefined
  #metadata: string | undefined

  constructor(raw: RawNode) {
    this.raw = raw
  }

  get whole(): string {
    this.#whole ??= JSON.stringify(this.raw)
    return this.#whole
  }

  /** PartialObjectMetadata. */
  get metadata(): string {
    const { metadata } = this.raw
    this.#metadata ??= JSON.stringify({
      kind: 'PartialObjectMetadata',
      apiVersion: 'meta.k8s.io/v1',
      metadata,
    })
    return this.#metadata
  }
}

interface FieldsEntry {
  manager: string
  operation: 'Update'
  time: string
  fieldsV1: { 'f:metadata'?: { 'f:annotations'?: Record<string, object> } }
}

/** Writes annotations as `manager`; null removes one. Updates managedFields as the API server does. */
export function writeAnnotations(
  { metadata }: RawNode,
  manager: string,
  annotations: Readonly<Record<string, string | null>>,
): void {
  metadata.managedFields ??= []
  const entries = metadata.managedFields as FieldsEntry[]
  const time = new Date().toISOString()
  const own = entries.find(entry => entry.manager === manager) ?? {
    manager,
    operation: 'Update',
    time,
    fieldsV1: {},
  }
  if (!entries.includes(own)) entries.push(own)
  for (const [name, value] of Object.entries(annotations)) {
    if (metadata.annotations[name] === value) continue
    for (const { fieldsV1 } of entries) delete fieldsV1['f:metadata']?.['f:annotations']?.[`f:${name}`]
    if (value === null) delete metadata.annotations[name]
    else {
      metadata.annotations[name] = value
      own.time = time
      own.fieldsV1['f:metadata'] ??= {}
      own.fieldsV1['f:metadata']['f:annotations'] ??= {}
      own.fieldsV1['f:metadata']['f:annotations'][`f:${name}`] = {}
    }
  }
}

/** The Nodes of a test cluster, with the history that watches continue from. */
export class NodeStorage {
  readonly nodes = new Map<string, StoredNode>()
  readonly history: HistoryEntry[] = []
  /** Called after each change. */
  onChange: (entry: HistoryEntry) => void = () => {}
  #version = 1000
  /** Versions below this one are compacted. */
  compacted = 0

  get version(): number {
    return this.#version
  }

  create(seed: NodeSeed): void {
    const { managedFields, status } = seed.ballast ?? {}
    const [first] = seed.podCidrs ?? []
    this.#commit('ADDED', {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        name: seed.name,
        uid: randomUUID(),
        resourceVersion: '',
        creationTimestamp: seed.created ?? new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
        annotations: { ...seed.annotations },
        ...(managedFields === undefined ? {} : { managedFields }),
      },
      spec: first === undefined ? {} : { podCIDR: first, podCIDRs: [...(seed.podCidrs ?? [])] },
      status: { conditions: [], ...status },
    })
  }

  /** `change` gets a copy. Throws where there is no such Node. */
  update(name: string, change: (node: RawNode) => void): StoredNode {
    const stored = this.nodes.get(name)
    if (stored === undefined) throw new Error(`There is no Node ${name}`)
    const copy = structuredClone(stored.raw)
    change(copy)
    return this.#commit('MODIFIED', copy)
  }

  delete(name: string): void {
    const stored = this.nodes.get(name)
    if (stored === undefined) return
    this.#commit('DELETED', structuredClone(stored.raw))
  }

  /** Forgets the history, as etcd does every five minutes. */
  compact(): void {
    this.compacted = this.#version
    this.history.length = 0
  }

  #commit(type: EventType, raw: RawNode): StoredNode {
    const version = ++this.#version
    raw.metadata.resourceVersion = String(version)
    const stored = new StoredNode(raw)
    if (type === 'DELETED') this.nodes.delete(raw.metadata.name)
    else this.nodes.set(raw.metadata.name, stored)
    const entry = { version, type, name: raw.metadata.name, stored }
    this.history.push(entry)
    this.onChange(entry)
    return stored
  }
}
