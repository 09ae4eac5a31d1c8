import type { OpenRawSocket, RawSocket } from '../netlink/raw_socket.ts'
import type { NetlinkRequests } from '../netlink/requests.ts'
import { ChangeSlot } from './change_slot.ts'
import { dumpAddresses, dumpLinks, dumpRoutes } from './dumps.ts'
import type { KernelChange, Scope } from './kernel.ts'
import { Notifications } from './notifications.ts'

/** RTNLGRP_LINK 1, RTNLGRP_NEIGH 3, RTNLGRP_IPV4_IFADDR 5, _IPV4_ROUTE 7, _IPV6_IFADDR 9, _IPV6_ROUTE 11 */
const GROUPS = [1, 3, 5, 7, 9, 11]

/** Room for a storm of some 20,000 messages; the kernel takes the memory only when it is needed. */
const RECEIVE_BYTES = 16 * 1024 * 1024
const DROPS_CHECK_MS = 5_000

/** Opens the socket before it returns, and yields until the signal aborts; rejects with its reason or the socket's failure. */
export function subscribe(
  open: OpenRawSocket,
  requests: NetlinkRequests,
  scope: Scope,
  signal: AbortSignal,
): AsyncIterable<KernelChange> {
  signal.throwIfAborted()
  const slot = new ChangeSlot()
  const notifications = new Notifications(scope, slot)
  const overflow = new OverflowCheck(slot)
  const socket = open(
    {
      onDatagram: datagram => {
        overflow.afterBurst()
        notifications.receive(datagram)
      },
      onFailure: error => slot.fail(error),
    },
    RECEIVE_BYTES,
  )
  overflow.watch(socket)
  const close = () => {
    overflow.stop()
    socket.close()
  }
  signal.addEventListener('abort', close, { once: true })
  try {
    for (const group of GROUPS) socket.join(group)
  } catch (error) {
    signal.removeEventListener('abort', close)
    close()
    throw error
  }
  const learned = learn(requests, { scope, notifications, slot }, signal)
  return {
    async *[Symbol.asyncIterator]() {
      try {
        await learned
        for (;;) yield await slot.take(signal)
      } finally {
        signal.removeEventListener('abort', close)
        if (!signal.aborted) close()
      }
    },
  }
}

/** What the first notifications are compared with. Never rejects: what fails here fails whoever takes the next change. */
async function learn(
  requests: NetlinkRequests,
  to: { readonly scope: Scope; readonly notifications: Notifications; readonly slot: ChangeSlot },
  signal: AbortSignal,
): Promise<void> {
  const { scope, notifications, slot } = to
  try {
    for (const link of await dumpLinks(requests, signal)) notifications.learnLink(link)
    for (const address of await dumpAddresses(requests, signal)) notifications.learnAddress(address)
    for (const family of ['ipv4', 'ipv6'] as const) {
      const filter = { protocol: scope.routeProtocol, index: 0 }
      const routes = await dumpRoutes(requests, family, filter, signal)
      for (const route of routes) notifications.learnRoute(route)
    }
  } catch (error) {
    slot.fail(error instanceof Error ? error : new Error(String(error)))
  }
}

/** The kernel throws away what the receive queue has no room for, and only counts it. */
class OverflowCheck {
  readonly #slot: ChangeSlot
  #socket: RawSocket | undefined
  #timer: NodeJS.Timeout | undefined
  #scheduled: NodeJS.Immediate | undefined
  #drops = 0

  constructor(slot: ChangeSlot) {
    this.#slot = slot
  }

  watch(socket: RawSocket): void {
    this.#socket = socket
    this.#timer = setInterval(() => this.#check(), DROPS_CHECK_MS)
  }

  /** Once for all that is read in one turn of the loop. */
  afterBurst(): void {
    this.#scheduled ??= setImmediate(() => {
      this.#scheduled = undefined
      this.#check()
    })
  }

  stop(): void {
    clearInterval(this.#timer)
    clearImmediate(this.#scheduled)
    this.#socket = undefined
  }

  #check(): void {
    if (this.#socket === undefined) return
    try {
      const drops = this.#socket.drops()
      if (drops === this.#drops) return
      this.#drops = drops
      this.#slot.everything('the notification socket overflowed')
      this.#slot.underlay()
    } catch (error) {
      this.#slot.fail(error instanceof Error ? error : new Error(String(error)))
    }
  }
}
