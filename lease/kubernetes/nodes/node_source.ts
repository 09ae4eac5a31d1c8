import { printJson } from '../../json/json.ts'
import { isRecord, textAt } from '../../json/path.ts'
import { MOST_NODES, TooLongError } from '../client/foreign_body.ts'
import type { Session } from '../client/session.ts'
import { ListBody } from './list_body.ts'
import { type Depth, type NodeObject, parseWithoutStatus, readNode } from './node_object.ts'

export interface NodeList {
  readonly nodes: NodeObject[]
  /** The version from which a watch continues. */
  readonly resourceVersion: string
}

/**
 * Nodes in one page: the API server holds 6 MB for it, this agent one Node at a time, whatever the size of a
 * page.
 */
const pageSize = 500
/** More than MOST_NODES take: pages may be smaller than was asked for. */
const mostPages = 1_000

const nodesPath = '/api/v1/nodes'

export function nodePath(name: string): string {
  return `${nodesPath}/${encodeURIComponent(name)}`
}

/** Reads Nodes, of their annotations only some; each method is one try. */
export class NodeSource {
  readonly session: Session
  readonly keptAnnotations: readonly string[]

  constructor(session: Session, keptAnnotations: readonly string[]) {
    this.session = session
    this.keptAnnotations = keptAnnotations
  }

  /** Rejects with an ApiError of status 404 where there is no Node of that name. */
  async get(name: string, signal: AbortSignal): Promise<NodeObject> {
    return this.read(await this.getRaw(name, signal))
  }

  /** The Node as the server sent it. */
  async getRaw(name: string, signal: AbortSignal): Promise<unknown> {
    const action = { verb: 'get', resource: 'nodes' } as const
    return await this.session.api.json({ action, method: 'GET', path: nodePath(name) }, signal)
  }

  read(raw: unknown): NodeObject {
    const node = readNode(raw, 'whole', this.keptAnnotations)
    if (node === undefined) throw new Error(`Cannot get nodes: the answer is no Node but ${printJson(raw)}`)
    return node
  }

  /**
   * All Nodes, or the one of that name. Rejects with an ApiError that is `gone` where reading all pages took
   * too long, and with TooLongError where there is no last one.
   */
  async list(depth: Depth, name: string | undefined, signal: AbortSignal): Promise<NodeList> {
    const nodes: NodeObject[] = []
    const seen = new Set<string>()
    let token = ''
    let resourceVersion = ''
    let pages = 0
    do {
      if (++pages > mostPages || nodes.length > MOST_NODES) throw new TooLongError('list')
      const query = new URLSearchParams({ limit: String(pageSize) })
      if (name !== undefined) query.set('fieldSelector', `metadata.name=${name}`)
      if (token !== '') query.set('continue', token)
      const page = await this.#page(`${nodesPath}?${query}`, depth, signal, item => {
        const node = readNode(item, depth, this.keptAnnotations)
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
    await this.session.api.pour(request, chunk => body.push(chunk), signal)
    const page = body.end()
    // An empty list means that there are no Nodes, a proxy's error page does not. Go writes an empty list as
    // null.
    const isList = isRecord(page) && textAt(page, 'kind')?.endsWith('List') && Array.isArray(page.items ?? [])
    if (!isList) throw new Error(`Cannot list nodes: the answer is no list but ${printJson(page)}`)
    return page
  }
}

const acceptList: Record<Depth, string> = {
  whole: 'application/json',
  metadata: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
}
