import { messageOf } from '../../common/errors.ts'
import type { Log } from '../../common/log.ts'
import { ReportOnce } from '../../common/report_once.ts'
import { allFamilies, type Family, familyOf, type Ip } from '../../net/ip.ts'
import { type AnnotationNames, parseIpOf } from '../nodes/annotations.ts'
import type { NodeObject } from '../nodes/node_object.ts'

/**
 * Annotations by which operators configure this node. As in flannel they are used at start only: a running
 * node does not move to another address, and logs a warning for a later change.
 */
export class OperatorInput {
  readonly #names: AnnotationNames
  readonly #log: Log
  /** By annotation, the value when it was first asked for. */
  readonly #taken = new Map<string, string>()
  readonly #changes = new ReportOnce()

  constructor(names: AnnotationNames, log: Log) {
    this.#names = names
    this.#log = log
  }

  /**
   * Addresses in node-public-ip and node-public-ipv6, which choose the external interface. Values that are no
   * address are left out.
   */
  hints(node: NodeObject): readonly Ip[] {
    return allFamilies.flatMap(family => {
      const hint = this.#take(node, family, this.#names.families[family].nodePublicIp)
      return hint === undefined ? [] : [hint]
    })
  }

  /** The public IPs to publish: an address in an overwrite annotation replaces the node's own. */
  publicIps(node: NodeObject, publicIps: readonly Ip[]): readonly Ip[] {
    return publicIps.map(publicIp => {
      const family = familyOf(publicIp)
      return this.#take(node, family, this.#names.families[family].overwrite) ?? publicIp
    })
  }

  /** Warns once for each annotation whose value has changed since the start. */
  review(node: NodeObject): void {
    for (const [annotation, taken] of this.#taken) {
      const now = textOf(node, annotation)
      if (now === taken) this.#changes.isOver(annotation)
      else if (this.#changes.isNew(annotation, now))
        this.#log.warn(
          { node: node.name, was: taken, now },
          `Annotation ${annotation} was '${taken}' and is now '${now}': restart the agent of this node to follow it`,
        )
    }
  }

  #take(node: NodeObject, family: Family, annotation: string): Ip | undefined {
    const taken = this.#taken.get(annotation)
    const text = taken ?? textOf(node, annotation)
    if (taken === undefined) this.#taken.set(annotation, text)
    if (text === '') return undefined
    try {
      return parseIpOf(family, text, annotation)
    } catch (cause) {
      if (taken === undefined)
        this.#log.warn({ node: node.name }, `Ignoring what is no address: ${messageOf(cause)}`)
      return undefined
    }
  }
}

/** Cut: an annotation can hold 256 KB. */
function textOf(node: NodeObject, annotation: string): string {
  return node.annotations.get(annotation)?.trim().slice(0, 100) ?? ''
}
