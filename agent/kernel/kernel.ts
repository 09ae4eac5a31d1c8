import type { Ip } from '../../lease/net/ip.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { Entry, Link } from '../state/entry.ts'
import type { Operation, Result } from '../state/operation.ts'
import type { InterfaceFacts, RouteFacts, RouteLookup } from '../state/underlay_facts.ts'

/** What belongs to this agent in the kernel. The agent neither lists nor changes anything else. */
export interface Scope {
  /** Names of our own devices, whether they exist or not. Everything on them is ours. */
  readonly devices: readonly string[]
  /** Routes with this protocol number are ours on any device. */
  readonly routeProtocol: number
  /** Limits `routeProtocol` to these: another agent on this host has other networks. Undefined: no limit. */
  readonly networks?: readonly Prefix[]
}

/** One of our entries that the kernel announced: `entry` is its current state, undefined when it is gone. */
export interface EntryChange {
  readonly key: string
  readonly entry: Entry | undefined
}

export interface DeviceChange {
  readonly name: string
  /** `device flannel.1 was set down; device flannel.1 was set up` */
  readonly reason: string
  readonly hasDropped: boolean
}

/**
 * The kernel's notifications since the last value.
 *
 * - `devices`: check whether they are as desired.
 * - `everything`: the reason for a full pass: a notification was lost.
 * - `underlay`: the external interface, an address or a route that is not ours changed: choose again.
 */
export interface KernelChange {
  readonly entries: readonly EntryChange[]
  readonly devices: readonly DeviceChange[]
  readonly everything: string | undefined
  readonly underlay: boolean
}

/** All our entries, with a fingerprint that tells whether they have changed. */
export interface Look {
  readonly fingerprint: string
  /** Undefined: the entries are as they were when this fingerprint was returned before. */
  readonly entries: readonly Entry[] | undefined
}

/** The kernel as the reconcile loop sees it; agent/kernel/netlink_kernel.ts implements it. */
export interface Kernel {
  /** All our entries that exist now. Two have one key only where the kernel itself repeats it. */
  snapshot(scope: Scope, signal: AbortSignal): Promise<readonly Entry[]>

  /** A snapshot that costs little where nothing changed since the look with the fingerprint `last`. */
  look(scope: Scope, last: string | undefined, signal: AbortSignal): Promise<Look>

  /** Only the devices of a snapshot. They are few and quickly read, and every other entry depends on them. */
  devices(scope: Scope, signal: AbortSignal): Promise<readonly Link[]>

  /**
   * Applies in order; one refused operation does not stop the next. Adding is create-or-replace on our
   * devices; a route is create-only, and another program's route is reported. Removing what is not there
   * succeeds. One result an operation, in order. Rejects only if the socket fails.
   */
  apply(operations: readonly Operation[], signal: AbortSignal): Promise<readonly Result[]>

  /** All changes after the call, our own too: with a later snapshot nothing is missed. Merges late ones. */
  changes(scope: Scope, signal: AbortSignal): AsyncIterable<KernelChange>

  /** Resolves once changes() has returned all that happened before the call, or after a while. */
  caughtUp(signal: AbortSignal): Promise<void>
}

export interface UnderlaySource {
  listInterfaces(signal: AbortSignal): Promise<readonly InterfaceFacts[]>
  /** Unicast routes of the main table that are not ours. */
  listRoutes(scope: Scope, signal: AbortSignal): Promise<readonly RouteFacts[]>
  /** The route of a packet to that address, by policy rules and all tables; undefined where there is none. */
  routeTo(address: Ip, signal: AbortSignal): Promise<RouteLookup | undefined>
}
