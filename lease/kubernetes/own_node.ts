import type { BackendData } from '../backend_data.ts'
import type { Log } from '../common/log.ts'
import { Pace } from '../common/pace.ts'
import type { Lease } from '../lease.ts'
import type { Ip } from '../net/ip.ts'
import { contains } from '../net/prefix.ts'
import { LeaseLostError, type LeaseRequest } from '../store.ts'
import type { AnnotationNames } from './annotations.ts'
import { ApiError } from './api_error.ts'
import { followNodes } from './follow.ts'
import { type NodeObject, writerOf } from './node_object.ts'
import { type NodeSource, nodePath } from './node_source.ts'
import {
  differences,
  effectivePublicIps,
  familiesOf,
  nodePublicIps,
  ownLease,
  ownPrefixes,
  type Publication,
  previousLease,
  printOwnPrefixes,
  wantedAnnotations,
} from './publication.ts'
import type { Session } from './session.ts'

export interface OwnNodeParts {
  readonly session: Session
  readonly source: NodeSource
  readonly names: AnnotationNames
  readonly name: string
  /** Named in what is refused. */
  readonly networkConfigFile: string
  readonly log: Log
}

/** What `claim` asked for and got. */
interface Claim {
  readonly request: LeaseRequest
  readonly backendData: readonly BackendData[]
  readonly lease: Lease
  /** undefined where it was made without the API server. */
  readonly uid: string | undefined
}

const unassigned =
  'run kube-controller-manager with --allocate-node-cidrs=true and --cluster-cidr, or set spec.podCIDR of the Node'

const publishing = 'publish the annotations'

/** Who disputes our annotations is not answered more often than this, in ms. */
const longestDisputeMs = 60_000

/** This node's own Node: its podCIDRs are the lease, its annotations publish it. */
export class OwnNode {
  readonly #parts: OwnNodeParts
  #claim: Claim | undefined
  /** Annotations as we wrote them last. */
  readonly #published = new Map<string, string>()
  #hinted: string | undefined
  #ignored = new Set<string>()
  #said = ''

  constructor(parts: OwnNodeParts) {
    this.#parts = parts
  }

  get name(): string {
    return this.#parts.name
  }

  /** Waits for the Node and its podCIDRs, publishes. Rejects with LeaseRefusedError. */
  async claim(request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    for await (const node of this.#follow(signal)) {
      if (node === undefined || node.podCidrs?.length === 0) {
        this.#sayWaiting(node)
        continue
      }
      this.#waitingIsOver()
      const claim = this.#makeClaim(node, request)
      const published = await this.#publish(node, claim, signal)
      if (!published) continue
      this.#claim = claim
      return claim.lease
    }
    throw signal.reason
  }

  /** The lease that we had when the API server was last heard; undefined where it does not fit the network any more. */
  reclaim(request: LeaseRequest, leases: readonly Lease[]): Lease | undefined {
    const previous = leases.find(lease => lease.node === this.#parts.name)
    const { families } = request.network
    const fits = families.every(
      ({ network }, i) => previous?.subnets[i] && contains(network, previous.subnets[i].prefix),
    )
    if (previous === undefined || !fits || previous.subnets.length !== families.length) return undefined
    const backendData = request.backendData(previous)
    const subnets = previous.subnets.map((subnet, i) => {
      return { ...subnet, publicIp: request.publicIps[i] ?? subnet.publicIp, backendData: backendData[i] }
    })
    const lease = { ...previous, backendType: request.backendType, subnets }
    this.#claim = { request, backendData, lease, uid: undefined }
    return lease
  }

  /** Until the signal aborts. Rejects with LeaseLostError; calls `recreated` for each new Node of our name. */
  async keep(lease: Lease, recreated: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const claim = this.#claim
    if (claim === undefined || claim.lease.node !== lease.node)
      throw new TypeError(`Cannot keep the lease of ${lease.node}: it was not acquired here`)
    const { pace } = this.#parts.session.timing
    const dispute = new Pace({ minMs: pace.minMs, maxMs: Math.max(pace.minMs, longestDisputeMs) })
    let { uid } = claim
    for await (const node of this.#follow(signal)) {
      uid ??= node?.uid
      if (node === undefined || (node.uid !== uid && node.podCidrs?.length === 0)) {
        this.#sayWaiting(node)
        continue
      }
      this.#waitingIsOver()
      this.#mustStillOwn(node, claim)
      this.#warnOfHint(node)
      if (node.uid !== uid) {
        uid = node.uid
        await recreated()
      }
      if (this.#missing(node, claim).size > 0) await this.#restore(claim, dispute, signal)
      else this.#parts.session.retrier.clear(publishing)
    }
  }

  /** Addresses in node-public-ip and node-public-ipv6 as they stand; waits for the Node. */
  async publicIpHints(signal: AbortSignal): Promise<readonly Ip[]> {
    for await (const node of this.#follow(signal)) {
      if (node === undefined) {
        this.#sayWaiting(node)
        continue
      }
      this.#waitingIsOver()
      const hints = this.#hints(node)
      this.#hinted = hints.join(', ')
      return hints
    }
    throw signal.reason
  }

  /** The Node each time that it may have changed; undefined while there is none. */
  async *#follow(signal: AbortSignal): AsyncGenerator<NodeObject | undefined, never, undefined> {
    const { session, source, names, name } = this.#parts
    const what = `Node ${name}`
    const depths = { depth: 'whole', firstDepth: 'whole' } as const
    const following = { session, source, what, name, ...depths, annotationStem: names.stem }
    for await (const step of followNodes(following, signal)) {
      if (step.type === 'all') yield step.nodes.find(node => node.name === name)
      else yield step.type === 'put' ? step.node : undefined
    }
    throw signal.reason
  }

  #makeClaim(node: NodeObject, request: LeaseRequest): Claim {
    const { names, networkConfigFile } = this.#parts
    const prefixes = ownPrefixes(node, request.network, networkConfigFile)
    const backendData = request.backendData(previousLease(node, prefixes, request.publicIps, names))
    const said = this.#publication(node, request, backendData)
    return { request, backendData, lease: ownLease(node, prefixes, said), uid: node.uid }
  }

  #publication(node: NodeObject, request: LeaseRequest, backendData: readonly BackendData[]): Publication {
    const ignored: string[] = []
    const publicIps = effectivePublicIps(
      node,
      familiesOf(request),
      request.publicIps,
      this.#parts.names,
      reason => ignored.push(reason),
    )
    this.#sayIgnored(node, ignored)
    return { podCidrs: node.podCidrs ?? [], backendType: request.backendType, publicIps, backendData }
  }

  /** Annotations that are not as they must be, with what they must be. */
  #missing(node: NodeObject, { request, backendData }: Claim): ReadonlyMap<string, string> {
    const said = this.#publication(node, request, backendData)
    return differences(node, wantedAnnotations(said, this.#parts.names))
  }

  /** False where the Node went away meanwhile. */
  async #publish(node: NodeObject, claim: Claim, signal: AbortSignal): Promise<boolean> {
    const { session } = this.#parts
    const missing = this.#missing(node, claim)
    if (missing.size === 0) return true
    const request = {
      action: { verb: 'patch', resource: 'nodes/status' },
      method: 'PATCH',
      path: `${nodePath(node.name)}/status`,
      contentType: 'application/strategic-merge-patch+json',
      body: { metadata: { annotations: Object.fromEntries(missing) } },
    } as const
    const attempt = () => session.api.json(request, signal)
    const there = await present(session.persist(publishing, attempt, signal, [404]))
    if (there) for (const [name, value] of missing) this.#published.set(name, value)
    return there
  }

  /** Reads the Node anew, as an older state may wait in the watch, and writes what still differs. */
  async #restore(claim: Claim, dispute: Pace, signal: AbortSignal): Promise<void> {
    const { session, source, log, name } = this.#parts
    await dispute.next(signal)
    dispute.started()
    let raw: unknown
    const read = async () => {
      raw = await source.getRaw(name, signal)
    }
    if (!(await present(session.persist('read the own Node', read, signal, [404])))) return
    const node = source.read(raw)
    this.#mustStillOwn(node, claim)
    const missing = this.#missing(node, claim)
    for (const [annotation, value] of missing) {
      const stood = node.annotations.get(annotation)
      if (stood !== undefined && stood === this.#published.get(annotation))
        log.info({ node: name }, `Publishing ${annotation} '${value}', it was '${stood}'`)
      else {
        const writer = stood === undefined ? undefined : writerOf(raw, annotation)
        const how = stood === undefined ? 'was removed' : `was changed to '${stood}'`
        const by = writer === undefined ? '' : ` by ${writer}`
        log.warn({ node: name }, `Publishing again ${annotation} '${value}', as it ${how}${by}`)
      }
    }
    await this.#publish(node, claim, signal)
  }

  #mustStillOwn(node: NodeObject, { request, lease, uid }: Claim): void {
    const before = lease.subnets.map(subnet => subnet.prefix).join(', ')
    const now = printOwnPrefixes(node, request.network, this.#parts.networkConfigFile)
    if (now === before) return
    const how = uid === undefined || node.uid === uid ? '' : ' since the Node was created anew'
    throw new LeaseLostError(
      `podCIDR of Node ${node.name} was ${before} and is ${now}${how}: pods here hold addresses that are routed to nobody; drain the node, restart the agent, then start the pods again`,
      undefined,
    )
  }

  #hints(node: NodeObject): readonly Ip[] {
    const { names, log } = this.#parts
    return nodePublicIps(node, names, reason =>
      log.warn({ node: node.name }, `Ignoring a public IP: ${reason}`),
    )
  }

  #warnOfHint(node: NodeObject): void {
    if (this.#hinted === undefined) return
    const now = this.#hints(node).join(', ')
    if (now === this.#hinted) return
    const { names, log } = this.#parts
    this.#hinted = now
    log.warn(
      { node: node.name },
      `${names.families.ipv4.nodePublicIp} and ${names.families.ipv6.nodePublicIp} are now '${now}': they choose the external interface, so restart the agent to follow them`,
    )
  }

  /** Each once as long as it stands. */
  #sayIgnored(node: NodeObject, reasons: readonly string[]): void {
    for (const reason of reasons)
      if (!this.#ignored.has(reason))
        this.#parts.log.warn({ node: node.name }, `Ignoring an overwrite: ${reason}`)
    this.#ignored = new Set(reasons)
  }

  #sayWaiting(node: NodeObject | undefined): void {
    const { name, log } = this.#parts
    const message =
      node === undefined
        ? `Waiting for Node ${name}: there is none of that name; its kubelet registers it, and NODE_NAME must be the name it registers`
        : `Waiting for a podCIDR of Node ${name}: none is assigned; ${unassigned}`
    this.#parts.session.retrier.wait('wait for the own Node', message)
    if (message === this.#said) return
    this.#said = message
    log.warn({ node: name }, message)
  }

  #waitingIsOver(): void {
    this.#parts.session.retrier.clear('wait for the own Node')
    this.#said = ''
  }
}

/** Whether it was there: false for a 404. */
async function present(act: Promise<unknown>): Promise<boolean> {
  try {
    await act
    return true
  } catch (cause) {
    if (cause instanceof ApiError && cause.status === 404) return false
    throw cause
  }
}
