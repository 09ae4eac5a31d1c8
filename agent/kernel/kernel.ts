import type { Ip } from '../../lease/net/ip.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { Entry, Link } from '../state/entry.ts'
import type { Operation, Result } from '../state/operation.ts'
import type { InterfaceFacts, RouteFacts, RouteLookup } from '../state/underlay_facts.ts'

/** What belongs to this agent in the kernel. All that is outside of it is neither listed nor changed. */
export interface Scope {
  /** Names of our own devices, there or not: what sits on them is ours. */
  readonly devices: readonly string[]
  /** Routes with this protocol number are ours on any device. */
  readonly routeProtocol: number
  /** As far as they lead into one of these: another agent of this host has other networks. Undefined: wherever they lead. */
  readonly networks?: readonly Prefix[]
}

/** One entry of ours that the kernel says has changed: `entry` is how it is now, undefined when it is gone. */
export interface EntryChange {
  readonly key: string
  readonly entry: Entry | undefined
}

/** A device that carries entries of ours has changed. */
export interface DeviceChange {
  readonly name: string
  /** `device flannel.1 was set down; device flannel.1 was set up` */
  readonly reason: string
  /** The kernel may have dropped entries on it without announcing that. */
  readonly hasDropped: boolean
}

/**
 * What the kernel said since the last value.
 * `devices`: see whether they are as desired.
 * `everything`: look at all again. A notification was lost.
 * `underlay`: the external interface, an address or a route outside of ours changed: choose again.
 */
export interface KernelChange {
  readonly entries: readonly EntryChange[]
  readonly devices: readonly DeviceChange[]
  readonly everything: string | undefined
  readonly underlay: boolean
}

/** The kernel as the reconcile loop sees it; agent/kernel/netlink_kernel.ts is the real one. */
export interface Kernel {
  /** All entries of ours that stand now. Keys may repeat only if the kernel itself repeats them. */
  snapshot(scope: Scope, signal: AbortSignal): Promise<readonly Entry[]>

  /** The devices of a snapshot alone: few, quickly read, and all else depends on them. */
  devices(scope: Scope, signal: AbortSignal): Promise<readonly Link[]>

  /**
   * Applies in the given order; one refused operation does not stop the next. Adding is create-or-replace; removing what
   * is not there succeeds. One result an operation, in the same order. Rejects only if the socket itself fails.
   */
  apply(operations: readonly Operation[], signal: AbortSignal): Promise<readonly Result[]>

  /**
   * What changes from the call on, whoever changes it, our own operations too: a snapshot that is asked for after the call
   * misses nothing. Changes that are not taken at once are folded into one.
   */
  changes(scope: Scope, signal: AbortSignal): AsyncIterable<KernelChange>

  /**
   * Resolves once changes() has told all that happened before the call: what it tells after that is not about operations
   * that were applied earlier. Gives up after a while where changes come without end.
   */
  caughtUp(signal: AbortSignal): Promise<void>
}

/** What the kernel knows of the network under the overlay. */
export interface UnderlaySource {
  /** All interfaces with their addresses. */
  listInterfaces(signal: AbortSignal): Promise<readonly InterfaceFacts[]>
  /** Unicast routes of the main table that are not ours. */
  listRoutes(scope: Scope, signal: AbortSignal): Promise<readonly RouteFacts[]>
  /** Which way a packet for that address goes, by policy rules and all tables; undefined where there is none. */
  routeTo(address: Ip, signal: AbortSignal): Promise<RouteLookup | undefined>
}
