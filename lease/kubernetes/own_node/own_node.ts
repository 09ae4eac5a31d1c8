import type { BackendData } from '../../backend_data.ts'
import type { Log } from '../../common/log.ts'
import { ReportOnce } from '../../common/report_once.ts'
import type { Lease } from '../../lease.ts'
import type { Ip } from '../../net/ip.ts'
import { contains } from '../../net/prefix.ts'
import { LeaseLostError, LeaseRefusedError, type LeaseRequest } from '../../store.ts'
import type { AnnotationNames } from '../nodes/annotations.ts'
import { followNodes } from '../nodes/follow.ts'
import type { NodeObject } from '../nodes/node_object.ts'
import type { NodeSource } from '../nodes/node_source.ts'
import { OperatorInput } from './operator_input.ts'
import {
  differences,
  ownLease,
  ownPrefixes,
  type Publication,
  previousLease,
  printOwnPrefixes,
  wantedAnnotations,
} from './publication.ts'
import { type Missing, Publisher } from './publisher.ts'

export interface OwnNodeParts {
  readonly source: NodeSource
  readonly names: AnnotationNames
  readonly name: string
  /** Named in the messages of refused leases. */
  readonly networkConfigFile: string
  readonly log: Log
}

/** The request and result of `claim`. */
interface Claim {
  readonly request: LeaseRequest
  readonly backendData: readonly BackendData[]
  readonly lease: Lease
  /** The Node's uid; undefined where the claim was made from the cache. */
  readonly uid: string | undefined
}

interface KeepCalls {
  readonly onRecreated: () => Promise<void>
  readonly onKept: () => void
}

const unassigned =
  'run kube-controller-manager with --allocate-node-cidrs=true and --cluster-cidr, or set spec.podCIDR of the Node'

/** This node's own Node: its podCIDRs are the lease, its annotations publish it. */
export class OwnNode {
  readonly #parts: OwnNodeParts
  readonly #input: OperatorInput
  readonly #publisher: Publisher
  #claim: Claim | undefined
  /** Why peers do not know this node's lease; undefined where they do. */
  #unpublished: string | undefined
  readonly #said = new ReportOnce()

  constructor(parts: OwnNodeParts) {
    this.#parts = parts
    this.#input = new OperatorInput(parts.names, parts.log)
    this.#publisher = new Publisher(parts)
  }

  /**
   * Why this node is in conflict: another host runs an agent under this Node's name, or this Node is gone;
   * else undefined.
   */
  get conflict(): string | undefined {
    return this.#publisher.conflict ?? this.#unpublished
  }

  get name(): string {
    return this.#parts.name
  }

  /**
   * Waits for the Node and its podCIDRs, and publishes the annotations. Rejects with LeaseRefusedError at the
   * first claim; a running node waits for a Node that can be leased to.
   */
  async claim(request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    for await (const node of this.#follow(signal)) {
      if (node === undefined || node.podCidrs?.length === 0) {
        this.#sayWaiting(node)
        continue
      }
      const claim = this.#tryClaim(node, request)
      if (claim === undefined) continue
      this.#waitingIsOver()
      if (!(await this.#publisher.publish(this.#missing(node, claim), signal))) continue
      this.#claim = claim
      return claim.lease
    }
    throw signal.reason
  }

  /** Claims the cached lease while the API server is away; undefined where it no longer fits the network. */
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

  /**
   * Keeps the lease until the signal aborts. Rejects with LeaseLostError. Calls `onRecreated` for each new
   * Node of our name, and `onKept` each time that the Node was seen with the lease as published.
   */
  async keep(lease: Lease, { onRecreated, onKept }: KeepCalls, signal: AbortSignal): Promise<void> {
    const claim = this.#claim
    if (claim === undefined || claim.lease.node !== lease.node)
      throw new TypeError(`Cannot keep the lease of ${lease.node}: it was not acquired here`)
    let { uid } = claim
    for await (const node of this.#follow(signal)) {
      uid ??= node?.uid
      if (node === undefined || (node.uid !== uid && node.podCidrs?.length === 0)) {
        this.#sayWaiting(node)
        continue
      }
      this.#waitingIsOver()
      this.#mustStillOwn(node, claim)
      this.#input.review(node)
      if (node.uid !== uid) {
        uid = node.uid
        await onRecreated()
      }
      if (await this.#publisher.restore(seen => this.#missing(seen, claim), node, signal)) onKept()
    }
  }

  /** Addresses in node-public-ip and node-public-ipv6 at present; waits for the Node. */
  async publicIpHints(signal: AbortSignal): Promise<readonly Ip[]> {
    for await (const node of this.#follow(signal)) {
      if (node === undefined) {
        this.#sayWaiting(node)
        continue
      }
      this.#waitingIsOver()
      return this.#input.hints(node)
    }
    throw signal.reason
  }

  /** Yields the Node each time that it may have changed; undefined while there is none. */
  async *#follow(signal: AbortSignal): AsyncGenerator<NodeObject | undefined, never, undefined> {
    const { source, name } = this.#parts
    const following = { source, what: `Node ${name}`, name, depth: 'whole' } as const
    for await (const steps of followNodes(following, signal))
      for (const step of steps)
        if (step.type === 'all') yield step.nodes.find(node => node.name === name)
        else yield step.type === 'put' ? step.node : undefined
    throw signal.reason
  }

  #tryClaim(node: NodeObject, request: LeaseRequest): Claim | undefined {
    try {
      return this.#makeClaim(node, request)
    } catch (cause) {
      if (!(cause instanceof LeaseRefusedError) || this.#claim === undefined) throw cause
      this.#wait(cause.message)
      return undefined
    }
  }

  #makeClaim(node: NodeObject, request: LeaseRequest): Claim {
    const { names, networkConfigFile } = this.#parts
    const prefixes = ownPrefixes(node, request.network, networkConfigFile)
    const backendData = request.backendData(previousLease(node, prefixes, request.publicIps, names))
    const said = this.#publication(node, { request, backendData })
    return { request, backendData, lease: ownLease(node, prefixes, said), uid: node.uid }
  }

  /** Throws LeaseLostError where the Node's podCIDR is no longer the claimed one. */
  #missing(node: NodeObject, claim: Claim): Missing {
    this.#mustStillOwn(node, claim)
    return differences(node, wantedAnnotations(this.#publication(node, claim), this.#parts.names))
  }

  #publication(
    node: NodeObject,
    { request, backendData }: Pick<Claim, 'request' | 'backendData'>,
  ): Publication {
    const publicIps = this.#input.publicIps(node, request.publicIps)
    return { podCidrs: node.podCidrs ?? [], backendType: request.backendType, publicIps, backendData }
  }

  #mustStillOwn(node: NodeObject, { request, lease, uid }: Claim): void {
    const before = lease.subnets.map(subnet => subnet.prefix).join(', ')
    const now = printOwnPrefixes(node, request.network, this.#parts.networkConfigFile)
    if (now === before) return
    const how = uid === undefined || node.uid === uid ? '' : ' since the Node was recreated'
    throw new LeaseLostError(
      `podCIDR of Node ${node.name} was ${before} and is ${now}${how}: pods here hold addresses that are routed to no node; drain the node, restart the agent, then start the pods again`,
      undefined,
    )
  }

  #sayWaiting(node: NodeObject | undefined): void {
    const { name } = this.#parts
    this.#wait(
      node === undefined
        ? `Waiting for Node ${name}: there is none of that name; its kubelet registers it, and NODE_NAME must be the name it registers`
        : `Waiting for a podCIDR of Node ${name}: none is assigned; ${unassigned}`,
    )
  }

  /**
   * Notes and logs that this node waits. The API server does answer: only at the first claim is the wait a
   * trouble of the store. Later this node keeps its lease, but its peers do not know it.
   */
  #wait(message: string): void {
    const { name, log, source } = this.#parts
    if (this.#claim === undefined) source.session.retrier.wait('wait for the own Node', message)
    else this.#unpublished = `peers do not reach the pods of this node: ${message}`
    if (this.#said.isNew('wait', message)) log.warn({ node: name }, message)
  }

  #waitingIsOver(): void {
    this.#parts.source.session.retrier.clear('wait for the own Node')
    this.#unpublished = undefined
    this.#said.isOver('wait')
  }
}
