import { asError } from '../../../lease/common/errors.ts'
import { allFamilies } from '../../../lease/net/ip.ts'
import type { LinkMessage } from '../../netlink/codec/link.ts'
import type { NetlinkRequests } from '../../netlink/requests.ts'
import type { OpenRawSocket, RawSocket } from '../../netlink/socket/raw_socket.ts'
import type { KernelChange, Scope } from '../kernel.ts'
import type { KernelTrace } from '../kernel_trace.ts'
import { dumpAddresses, dumpLinks, dumpRoutes } from '../snapshot/dumps.ts'
import { ChangeSlot } from './change_slot.ts'
import { Notifications } from './notifications.ts'

/**
 * RTNLGRP_LINK 1, RTNLGRP_NEIGH 3, RTNLGRP_IPV4_IFADDR 5, _IPV4_ROUTE 7, _IPV4_RULE 8, _IPV6_IFADDR 9,
 * _IPV6_ROUTE 11, _IPV6_RULE 19, _IPV4_NETCONF 24, _IPV6_NETCONF 25
 */
const GROUPS = [1, 3, 5, 7, 8, 9, 11, 19, 24, 25]

/** Room for a burst of about 20,000 messages; the kernel allocates the memory only when needed. */
const RECEIVE_BYTES = 16 * 1024 * 1024
/** An overflow is checked for at once, after each message; this is for messages lost for lack of memory. */
const DROPS_CHECK_MS = 60_000
/** How many datagrams are held back at most, until they can be interpreted. */
const MAX_HELD = 20_000
/** How long caughtUp() waits where notifications do not end. */
const CATCH_UP_MS = 300
const OVERFLOW = 'the notification socket overflowed'

export interface SubscriptionOptions {
  readonly open: OpenRawSocket
  readonly requests: NetlinkRequests
  readonly scope: Scope
  readonly receiveBytes?: number
  readonly trace?: KernelTrace | undefined
  /** Called once: at the end of the reader, for whatever reason, or where the signal aborts. */
  readonly onClose?: (closed: Subscription) => void
}

/** Datagrams that arrived while the present state was being read. */
interface Held {
  readonly datagrams: Buffer[]
  /** There was no room for all: the state read does not include what the others announced. */
  isIncomplete: boolean
}

/** Listens from its construction until the reader ends or the signal aborts. */
export class Subscription implements AsyncIterable<KernelChange> {
  readonly #options: SubscriptionOptions
  readonly #signal: AbortSignal
  readonly #slot = new ChangeSlot()
  readonly #notifications: Notifications
  readonly #socket: RawSocket
  readonly #timer: NodeJS.Timeout
  /** Undefined once the present state is known. */
  #held: Held | undefined
  #check: NodeJS.Immediate | undefined
  #drops = 0
  #isFollowed = false
  #closed = false

  constructor(options: SubscriptionOptions, signal: AbortSignal) {
    signal.throwIfAborted()
    this.#options = options
    this.#signal = signal
    this.#notifications = new Notifications(options.scope, this.#slot)
    const events = {
      onDatagram: (datagram: Buffer) => this.#receive(datagram),
      onFailure: (error: Error) => this.#slot.fail(error),
    }
    this.#socket = options.open(events, options.receiveBytes ?? RECEIVE_BYTES)
    this.#timer = setInterval(() => this.#checkDrops(), DROPS_CHECK_MS)
    signal.addEventListener('abort', this.#close, { once: true })
    try {
      for (const group of GROUPS) this.#socket.join(group)
    } catch (error) {
      this.#close()
      throw error
    }
    void this.#learn()
  }

  /** Rejects with the signal's reason, or with the failure of the socket. */
  async *[Symbol.asyncIterator](): AsyncGenerator<KernelChange, void> {
    this.#isFollowed = true
    try {
      for (;;) {
        const change = await this.#slot.take(this.#signal)
        this.#options.trace?.changed(change)
        yield change
      }
    } finally {
      this.#isFollowed = false
      this.#close()
    }
  }

  /** A device by the notifications so far; undefined while the present state is being read. */
  link(name: string): LinkMessage | undefined {
    return this.#held === undefined && !this.#closed ? this.#notifications.link(name) : undefined
  }

  /** Resolves once the reader has taken everything that the kernel has announced so far. */
  async caughtUp(): Promise<void> {
    const endMs = performance.now() + CATCH_UP_MS
    this.#slot.mayHurry = false
    while (this.#isFollowed && this.#isBehind() && performance.now() < endMs)
      await new Promise(resolve => setImmediate(resolve))
    this.#slot.mayHurry = true
  }

  #isBehind(): boolean {
    if (this.#closed) return false
    return this.#held !== undefined || this.#slot.isFilled || !this.#socket.isEmpty()
  }

  #receive(datagram: Buffer): void {
    // One check for all datagrams of one turn of the event loop.
    this.#check ??= setImmediate(() => {
      this.#check = undefined
      this.#checkDrops()
    })
    const held = this.#held
    if (held === undefined) this.#notifications.receive(datagram)
    else if (held.datagrams.length < MAX_HELD) held.datagrams.push(Buffer.from(datagram))
    else held.isIncomplete = true
  }

  /** The kernel drops messages for which the receive queue has no room, and only counts them. */
  #checkDrops(): void {
    if (this.#closed) return
    try {
      const drops = this.#socket.drops()
      if (drops === this.#drops) return
      this.#drops = drops
      void this.#learn(OVERFLOW)
    } catch (error) {
      this.#slot.fail(asError(error))
    }
  }

  /**
   * Reads the state to compare notifications with, and holds these back meanwhile. Never rejects: a failure
   * fails the reader. With a reason, a full pass follows.
   */
  async #learn(reason?: string): Promise<void> {
    const held: Held = { datagrams: [], isIncomplete: false }
    this.#held = held
    try {
      await this.#readAll()
      // After an overflow meanwhile, another #learn() is reading the state: leave it to that one.
      if (this.#held === held && held.isIncomplete) void this.#learn(OVERFLOW)
      else if (this.#held === held) {
        this.#held = undefined
        for (const datagram of held.datagrams) this.#notifications.receive(datagram)
      }
      if (reason === undefined) return
      this.#slot.everything(reason)
      this.#slot.underlay()
    } catch (error) {
      this.#slot.fail(asError(error))
    }
  }

  async #readAll(): Promise<void> {
    const [notifications, signal] = [this.#notifications, this.#signal]
    const { requests, scope } = this.#options
    const filter = { protocol: scope.routeProtocol, index: 0 }
    // All requests are queued now, so the kernel answers them before any snapshot that is requested later.
    const [links, addresses, ...routes] = await Promise.all([
      dumpLinks(requests, signal),
      dumpAddresses(requests, signal),
      ...allFamilies.map(family => dumpRoutes(requests, family, filter, signal)),
    ])
    notifications.forget()
    for (const link of links) notifications.learnLink(link)
    for (const address of addresses) notifications.learnAddress(address)
    for (const route of routes.flat()) notifications.learnRoute(route)
  }

  readonly #close = (): void => {
    if (this.#closed) return
    this.#closed = true
    this.#signal.removeEventListener('abort', this.#close)
    clearInterval(this.#timer)
    clearImmediate(this.#check)
    this.#socket.close()
    this.#options.onClose?.(this)
  }
}
