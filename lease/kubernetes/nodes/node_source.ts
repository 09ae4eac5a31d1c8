import { isRecord, textAt } from '../../json/path.ts'
import type { Session } from '../client/session.ts'
import { ListBody } from './list_body.ts'
import { type Depth, type NodeObject, parseWithoutStatus, readNode } from './node_object.ts'

export interface NodeList {
  readonly nodes: NodeObject[]
  /** Where a watch continues. */
  readonly resourceVersion: string
}

/**
 * What the API server holds for us at once is 6 MB of Nodes; what we hold is one Node, whatever the size of a
 * page.
 */
const pageSize = 500

const nodesPath = '/api/v1/nodes'

export function nodePath(name: string): string {
  return `${nodesPath}/${encodeURIComponent(name)}`
}

/** Reads Nodes; each method is one try. */
export class NodeSource {
  readonly #session: Session
  readonly #kept: ReadonlySet<string>

  constructor(session: Session, keptAnnotations: ReadonlySet<string>) {
    this.#session = session
    this.#kept = keptAnnotations
  }

  /** Rejects with an ApiError of status 404 where there is none of that name. */
  async get(name: string, signal: AbortSignal): Promise<NodeObject> {
    return this.read(await this.getRaw(name, signal))
  }

  /** As the server sent it. */
  async getRaw(name: string, signal: AbortSignal): Promise<unknown> {
    const action = { verb: 'get', resource: 'nodes' } as const
    return await this.#session.api.json({ action, method: 'GET', path: nodePath(name) }, signal)
  }

  read(raw: unknown): NodeObject {
    const node = readNode(raw, 'whole', this.#kept)
    if (node === undefined) throw new Error(`Cannot get nodes: the answer is no Node but ${excerpt(raw)}`)
    return node
  }

  /**
   * All, or the one of that name. Rejects with an ApiError that is `gone` where the list took too long to
   * page through.
   */
  async list(depth: Depth, name: string | undefined, signal: AbortSignal): Promise<NodeList> {
    const nodes: NodeObject[] = []
    const seen = new Set<string>()
    let token = ''
    let resourceVersion = ''
    do {
      const query = new URLSearchParams({ limit: String(pageSize) })
      if (name !== undefined) query.set('fieldSelector', `metadata.name=${name}`)
      if (token !== '') query.set('continue', token)
      const page = await this.#page(`${nodesPath}?${query}`, depth, signal, item => {
        const node = readNode(item, depth, this.#kept)
        if (node === undefined || seen.has(node.name)) return
        seen.add(node.name)
        nodes.push(node)
      })
      resourceVersion = textAt(page, 'metadata', 'resourceVersion') ?? ''
      token = textAt(page, 'metadata', 'continue') ?? ''
    } while (token !== '')
    return { nodes, resourceVersion }
  }

  /** Resolves to the list without its items. */
  async #page(
    path: string,
    depth: Depth,
    signal: AbortSignal,
    take: (item: unknown) => void,
  ): Promise<unknown> {
    const body = new ListBody(json => take(parseWithoutStatus(json, '}')))
    const request = {
      action: { verb: 'list', resource: 'nodes' },
      method: 'GET',
      path,
      accept: acceptList[depth],
    } as const
    await this.#session.api.pour(request, chunk => body.push(chunk), signal)
    const page = body.end()
    // An empty list is a statement, a proxy's error page is none. Go writes one without members as null.
    const isList = isRecord(page) && textAt(page, 'kind')?.endsWith('List') && Array.isArray(page.items ?? [])
    if (!isList) throw new Error(`Cannot list nodes: the answer is no list but ${excerpt(page)}`)
    return page
  }
}

const acceptList: Record<Depth, string> = {
  whole: 'application/json',
  metadata: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
}

function excerpt(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 100) ?? 'nothing'
}
