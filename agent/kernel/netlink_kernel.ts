import type { Ip } from '../../lease/net/ip.ts'
import { NetlinkRequests } from '../netlink/requests.ts'
import { loadLibc } from '../netlink/socket/libc.ts'
import { loadRawSocket, type OpenRawSocket } from '../netlink/socket/raw_socket.ts'
import type { Entry, Link } from '../state/entry.ts'
import type { Operation, Result } from '../state/operation.ts'
import type { InterfaceFacts, RouteFacts, RouteLookup } from '../state/underlay_facts.ts'
import { applyOperations } from './apply/apply.ts'
import { DeviceSettings } from './apply/device_settings.ts'
import type { TxChecksum } from './apply/tx_checksum.ts'
import type { Kernel, KernelChange, Look, Scope, UnderlaySource } from './kernel.ts'
import type { KernelTrace } from './kernel_trace.ts'
import { Subscription } from './notifications/subscription.ts'
import { lookUpRoute, readInterfaces, readOtherRoutes } from './snapshot/facts.ts'
import { lookAtEntries } from './snapshot/look.ts'
import { readDevices, readEntries } from './snapshot/snapshot.ts'

export interface NetlinkKernelOptions {
  readonly txChecksum?: TxChecksum
  readonly trace?: KernelTrace | undefined
}

/** The kernel of this process's network namespace, over rtnetlink. */
export class NetlinkKernel implements Kernel, UnderlaySource {
  readonly #open: OpenRawSocket
  readonly #requests: NetlinkRequests
  readonly #settings: DeviceSettings
  readonly #trace: KernelTrace | undefined
  /** Those that listen: each leaves when it closes. */
  readonly #subscriptions = new Set<Subscription>()

  /** Loads the native code. Opens a socket at the first request. */
  static async open({ txChecksum = 'auto', trace }: NetlinkKernelOptions = {}): Promise<NetlinkKernel> {
    const settings = new DeviceSettings(await loadLibc(), txChecksum)
    return new NetlinkKernel(await loadRawSocket(), settings, trace)
  }

  constructor(open: OpenRawSocket, settings: DeviceSettings, trace?: KernelTrace) {
    this.#open = open
    this.#settings = settings
    this.#trace = trace
    this.#requests = new NetlinkRequests(open)
  }

  async snapshot(scope: Scope, signal: AbortSignal): Promise<readonly Entry[]> {
    const entries = await readEntries(this.#requests, scope, signal)
    this.#trace?.read('all entries', entries.length)
    return entries
  }

  async look(scope: Scope, last: string | undefined, signal: AbortSignal): Promise<Look> {
    const look = await lookAtEntries(this.#requests, scope, last, signal)
    this.#trace?.read('all entries', look.entries?.length ?? 'as before')
    return look
  }

  /** Also sets the device settings again: the kernel does not announce when another program changes them. */
  async devices(scope: Scope, signal: AbortSignal): Promise<readonly Link[]> {
    const devices = await readDevices(this.#requests, scope, signal)
    for (const device of devices) this.#settings.keep(device)
    this.#trace?.read('devices', devices.length)
    return devices
  }

  async apply(operations: readonly Operation[], signal: AbortSignal): Promise<readonly Result[]> {
    const [subscription] = this.#subscriptions
    const known = (name: string) => subscription?.link(name)
    const results = await applyOperations(this.#requests, this.#settings, operations, signal, known)
    this.#trace?.applied(results)
    return results
  }

  async caughtUp(signal: AbortSignal): Promise<void> {
    await Promise.all(Array.from(this.#subscriptions, one => one.caughtUp()))
    signal.throwIfAborted()
  }

  /** Listens from the call on, not only from the first value: a later snapshot() shows all the rest. */
  changes(scope: Scope, signal: AbortSignal): AsyncIterable<KernelChange> {
    const onClose = (closed: Subscription) => this.#subscriptions.delete(closed)
    const subscription = new Subscription(
      { open: this.#open, requests: this.#requests, scope, trace: this.#trace, onClose },
      signal,
    )
    this.#subscriptions.add(subscription)
    return subscription
  }

  listInterfaces(signal: AbortSignal): Promise<readonly InterfaceFacts[]> {
    return readInterfaces(this.#requests, signal)
  }

  listRoutes(scope: Scope, signal: AbortSignal): Promise<readonly RouteFacts[]> {
    return readOtherRoutes(this.#requests, scope, signal)
  }

  routeTo(address: Ip, signal: AbortSignal): Promise<RouteLookup | undefined> {
    return lookUpRoute(this.#requests, address, signal)
  }

  close(): void {
    this.#requests.close()
  }
}
