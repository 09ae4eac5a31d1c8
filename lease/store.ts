import type { BackendData } from './backend_data.ts'
import { ExpectedError } from './common/errors.ts'
import type { Lease, LeaseProblem, LeaseTableChange } from './lease.ts'
import type { Ip } from './net/ip.ts'
import type { Mac } from './net/mac.ts'
import type { Prefix } from './net/prefix.ts'
import type { NetworkConfig } from './network_config/network_config.ts'

/** What a node asks for. Renewing or claiming again uses the same request. */
export interface LeaseRequest {
  readonly network: NetworkConfig
  /** One for each family of the network, in its order. */
  readonly publicIps: readonly Ip[]
  /** The lease that this node runs with: the subnet stays, only the published data change; `keep` checks. */
  readonly held?: Lease | undefined
  /** Subnets of an earlier process (subnet.env, device), taken again where they are free and fit. */
  readonly previousSubnets: readonly Prefix[]
  /** The host's own networks: no subnet that overlaps one of them is chosen. */
  readonly hostNetworks?: readonly Prefix[]
  /** MACs of this node's existing tunnel devices. */
  readonly deviceMacs?: readonly Mac[]
  readonly backendType: string
  /**
   * To publish, one for each family in the network's order. Called with the lease that this node's name had
   * before, if any: a VTEP keeps the MAC that its peers know.
   */
  readonly backendData: (previous: Lease | undefined) => readonly BackendData[]
}

/** What the caller demands of a network config beyond its own rules, and what happens where it is not met. */
export interface ConfigDemands {
  /** Throws NetworkConfigError, for instance for an unknown backend. */
  readonly accept?: (network: NetworkConfig) => void
  /** `wait` (the default): until an operator mends the config. */
  readonly onInvalid?: 'wait' | 'reject'
}

/**
 * A store knows which node owns which subnet. Every implementation promises:
 *
 * - Each method waits for its store as long as needed. It logs what it waits for once, and again when that
 *   changes. It rejects with the signal's reason when aborted.
 * - A subnet has one owner. What another node wrote is never overwritten or removed.
 * - A store that cannot be read never shrinks the table: `watch` yields nothing until it knows.
 * - A store knows nothing of the kernel.
 */
export interface LeaseStore {
  /**
   * Stores a network config where there is none: the last one that this host has seen, or else `text`.
   * Resolves to the stored text; undefined where there was one already.
   */
  offerNetworkConfig?(text: string, signal: AbortSignal): Promise<string | undefined>

  /** Waits for a config. Rejects with NetworkConfigError for a file, or where `onInvalid` asks for it. */
  networkConfig(signal: AbortSignal, demands?: ConfigDemands): Promise<NetworkConfig>

  /**
   * Claims this node's subnets and publishes its data. While none is free it keeps looking, said once in the
   * log and in `health().trouble`. Rejects with LeaseRefusedError only where waiting cannot help.
   */
  acquire(request: LeaseRequest, signal: AbortSignal): Promise<Lease>

  /**
   * Keeps and renews the lease until the signal aborts; rejects with LeaseLostError. Calls `onKept` each time
   * that the store was seen to hold the lease as published.
   */
  keep(lease: Lease, signal: AbortSignal, onKept?: () => void): Promise<void>

  /** Complete tables, maybe one live table; merges changes that come faster. Ends only by the signal. */
  watch(signal: AbortSignal): AsyncIterable<LeaseTableChange>

  /** Last renewal and end of each lease, by node, one call each. Only in stores whose leases end. */
  leaseTimes?(signal: AbortSignal): Promise<ReadonlyMap<string, LeaseTimes>>

  /** The pod's addresses, if any yet; one try, in stores that know pods. Rejects with an ApiError. */
  podAddresses?(namespace: string, name: string, signal: AbortSignal): Promise<readonly Ip[]>

  readonly endpoints?: readonly string[]

  /** The store's state now; for health, metrics and the log. */
  health(): StoreHealth

  /** This node's address or route to the store changed: connects again now, not after a time-out. */
  reconnect?(): void

  /** Closes connections and timers. The lease stays. */
  close(): Promise<void>

  /** The object for this node that operators and schedulers read (Kubernetes); undefined elsewhere. */
  readonly reporter?: NodeReporter
}

/** Times of one lease in Unix ms; undefined for a reservation, which is not renewed and does not end. */
export interface LeaseTimes {
  readonly renewedAtMs: number | undefined
  readonly endsAtMs: number | undefined
}

/** Information between this node and the cluster's operators, through the node's own object. */
export interface NodeReporter {
  /** Public IPs chosen by the operator, one a family: ask before choosing the external interface. */
  publicIpHints(signal: AbortSignal): Promise<readonly Ip[]>

  /** Call once traffic can flow: allows pods on this node. Waits for the store as long as needed. */
  announceReady(signal: AbortSignal): Promise<void>

  /** Shows a problem of this node's lease to operators. Others' problems are left to their agents. */
  report(problem: LeaseProblem, signal: AbortSignal): Promise<void>
}

export interface StoreHealth {
  /** Unix ms of the last answer from the store; undefined before the first. */
  readonly lastContactMs: number | undefined
  /** Why the store cannot be reached now, with the endpoint; undefined while it answers. */
  readonly trouble: string | undefined
  /** How long, in ms, the oldest current trouble has lasted; other answers do not end it. 0: none. */
  readonly troubleMs: number
  /** What another host does with our lease or public IP, and what to do about it. */
  readonly conflict?: string | undefined
  /** What an operator must do although the store answers, as after a change of the network config. */
  readonly notice?: string | undefined
  /** How often each activity (`watch the peers`) has failed and was retried. */
  readonly failures?: ReadonlyMap<string, number>
  /** Watches that broke, ended or fell behind, and were opened again. */
  readonly watchRestarts?: number
  /** Connections made after the first one; undefined where the store does not keep any. */
  readonly reconnects?: number
  /** When our lease ends if it is not renewed, in Unix ms; undefined where it does not end. */
  readonly leaseEndsAtMs?: number | undefined
}

/** Our lease is now another node's, or gone. */
export class LeaseLostError extends ExpectedError {
  override name = 'LeaseLostError'
  /** The lease of the node that holds our subnet now; undefined where no node does. */
  readonly holder: Lease | undefined
  constructor(message: string, holder: Lease | undefined, options?: ErrorOptions) {
    super(message, options)
    this.holder = holder
  }
}

/** No subnet is free at present, or none fits. The message has the figures and the remedy. */
export class LeaseRefusedError extends ExpectedError {
  override name = 'LeaseRefusedError'
}
