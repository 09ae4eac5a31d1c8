import type { BackendData } from './backend_data.ts'
import { ExpectedError } from './common/errors.ts'
import type { Lease, LeaseProblem, LeaseTableChange } from './lease.ts'
import type { Ip } from './net/ip.ts'
import type { Mac } from './net/mac.ts'
import type { Prefix } from './net/prefix.ts'
import type { NetworkConfig } from './network_config/network_config.ts'

/** What a node asks for. A renewed or re-claimed lease is asked for in the same words. */
export interface LeaseRequest {
  readonly network: NetworkConfig
  /** One a family that the network has, in the network's order. */
  readonly publicIps: readonly Ip[]
  /**
   * The lease that this node runs with: it stays this node's, and only what is published in it changes. The subnet is not
   * chosen again, whatever the store says; `keep` finds out.
   */
  readonly held?: Lease | undefined
  /** Subnets of an earlier life (subnet.env, the tunnel device's address), taken again where they are free and fit the network. */
  readonly previousSubnets: readonly Prefix[]
  /** What the host itself lives on: no subnet that overlaps one of these is chosen. */
  readonly hostNetworks?: readonly Prefix[]
  /** MACs of this node's tunnel devices, as far as there are any. */
  readonly deviceMacs?: readonly Mac[]
  readonly backendType: string
  /**
   * The backend data to publish, one a family in the network's order (undefined: publish none). Called with the lease
   * that stood under this node's name before, if any, so that a VTEP keeps the MAC that its peers know.
   */
  readonly backendData: (previous: Lease | undefined) => readonly BackendData[]
}

/** What a network config must be beyond its own rules, and what is done about one that cannot be used. */
export interface ConfigDemands {
  /** Throws NetworkConfigError, as for a backend that there is not. */
  readonly accept?: (network: NetworkConfig) => void
  /** `wait` where it is not given: until it is mended. */
  readonly onInvalid?: 'wait' | 'reject'
}

/**
 * Who owns which subnet. What every implementation promises:
 *
 * - Each method waits for its store as long as it takes; what it waits for is logged once and again when it changes.
 *   It rejects with the signal's reason when aborted.
 * - A subnet has one owner. What another node wrote is never overwritten or removed.
 * - A store that cannot be read never shrinks the table: `watch` says nothing until it knows.
 * - Nothing here knows of the kernel.
 */
export interface LeaseStore {
  /**
   * For the first host of a network: stores a network config where there is none: the last one that this host has seen, or this.
   * Resolves to it if it was stored.
   */
  offerNetworkConfig?(text: string, signal: AbortSignal): Promise<string | undefined>

  /**
   * Waits until there is one that can be used. Rejects with NetworkConfigError where `onInvalid` asks for it, and where it
   * comes from a file.
   */
  networkConfig(signal: AbortSignal, demands?: ConfigDemands): Promise<NetworkConfig>

  /**
   * Claims, or claims again, this node's subnets and publishes its data. Where none can be had as things stand (out of
   * subnets) it keeps looking, says so once in the log and in `health().trouble`, with figures and remedy. Rejects with
   * LeaseRefusedError only where looking on cannot help.
   */
  acquire(request: LeaseRequest, signal: AbortSignal): Promise<Lease>

  /**
   * Keeps what `acquire` gave, renewing it in time, until the signal aborts (resolves) or it is ours no more
   * (rejects with LeaseLostError). `onKept` is called each time that the store was seen to hold it as we published it.
   */
  keep(lease: Lease, signal: AbortSignal, onKept?: () => void): Promise<void>

  /**
   * The first value is a complete table; each later one too, and it may be the same one, which lives on. Changes that come
   * faster than they are taken are folded into one. Ends only by the signal.
   */
  watch(signal: AbortSignal): AsyncIterable<LeaseTableChange>

  /** When each lease was renewed last and when it ends, by node; a call for each. For stores whose leases end. */
  leaseTimes?(signal: AbortSignal): Promise<ReadonlyMap<string, LeaseTimes>>

  /** Of a pod, one try; empty if it has none yet. For stores that know pods. Rejects with an ApiError. */
  podAddresses?(namespace: string, name: string, signal: AbortSignal): Promise<readonly Ip[]>

  /** URLs that the store is reached by. */
  readonly endpoints?: readonly string[]

  /** How the store does just now; for health, metrics and the log. */
  health(): StoreHealth

  /**
   * This node's address or way to the store has changed: connections that may lead nowhere are opened again at once, not when
   * their time-out ends. For stores that keep connections.
   */
  reconnect?(): void

  /** Lets go of connections and timers. The lease stays. */
  close(): Promise<void>

  /** Where this node is an object in the store that others look at (Kubernetes); undefined elsewhere. */
  readonly reporter?: NodeReporter
}

/** Of one lease, as Date.now() counts; undefined for a reservation, which is not renewed and does not end. */
export interface LeaseTimes {
  readonly renewedAtMs: number | undefined
  readonly endsAtMs: number | undefined
}

/** What this node and those who run the cluster tell each other through the node's own object. */
export interface NodeReporter {
  /** Public IPs that the operator chose for this node, at most one a family: before they are known, no interface is. */
  publicIpHints(signal: AbortSignal): Promise<readonly Ip[]>

  /** Call once traffic can flow: pods may be scheduled here. Waits for its store as long as it takes. */
  announceReady(signal: AbortSignal): Promise<void>

  /** Shows a problem with this node's own lease to the cluster's operator; others' (by `key`) are left to their nodes. */
  report(problem: LeaseProblem, signal: AbortSignal): Promise<void>
}

export interface StoreHealth {
  /** Date.now() of the last answer from the store; undefined before the first. */
  readonly lastContactMs: number | undefined
  /** Why it cannot be reached now, with the endpoint; undefined while it answers. */
  readonly trouble: string | undefined
  /** How long something has not worked, in ms; 0 while all does. Other answers of the store do not end it. */
  readonly troubleMs: number
  /** What another host does with our lease or our public IP, and what to do about it; undefined while none does. */
  readonly conflict?: string | undefined
  /** What an operator must do though the store answers, as where the network config was changed; undefined: nothing. */
  readonly notice?: string | undefined
  /** How often each activity (`watch the peers`) has failed and was tried again. */
  readonly failures?: ReadonlyMap<string, number>
  /** Watches that broke, ended or fell behind, and were opened again. */
  readonly watchRestarts?: number
  /** Connections made after the first one; undefined where the store does not keep any. */
  readonly reconnects?: number
  /** When our lease ends if it is not renewed, as Date.now() counts; undefined where it does not end. */
  readonly leaseEndsAtMs?: number | undefined
}

/** The lease is another node's, or gone. */
export class LeaseLostError extends ExpectedError {
  override name = 'LeaseLostError'
  /** Who holds our subnet now; undefined where no node does. */
  readonly holder: Lease | undefined
  constructor(message: string, holder: Lease | undefined, options?: ErrorOptions) {
    super(message, options)
    this.holder = holder
  }
}

/** No lease can be had as things stand: out of subnets, or none that fits. The message says the figures and the remedy. */
export class LeaseRefusedError extends ExpectedError {
  override name = 'LeaseRefusedError'
}
