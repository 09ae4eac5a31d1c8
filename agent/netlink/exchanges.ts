import { asError } from '../../lease/common/errors.ts'
import { Messages, MessageWriter, NLMSG_DONE, NLMSG_ERROR } from './codec/message.ts'
import { NetlinkTimeoutError } from './errno.ts'
import type { OpenRawSocket, RawSocket } from './socket/raw_socket.ts'

/** The kernel answers during the request: an answer that has not arrived after this time is lost. */
const ANSWER_MS = 10_000
/** Consecutive exchanges take no turn of the event loop. After this time they let other tasks run. */
const MAX_BUSY_MS = 100
const RECEIVE_BYTES = 4 * 1024 * 1024

export interface Exchange {
  /** `Cannot list devices` */
  readonly act: string
  readonly count: number
  /** Further NLM_F_* flags of one message. The last message must ask for an answer. */
  flags(place: number): number
  write(writer: MessageWriter, place: number): void
  onMessage(messages: Messages): void
  onOutcome(place: number, errno: number, extack: string | undefined): void
}

interface Running {
  readonly exchange: Exchange
  readonly first: number
  readonly last: number
  settle(error: Error | undefined): void
}

/** One exchange at a time: the kernel refuses two dumps. After a failure the next opens the socket again. */
export class Exchanges {
  readonly #open: OpenRawSocket
  readonly #writer = new MessageWriter()
  #socket: RawSocket | undefined
  #running: Running | undefined
  /** Resolves when all earlier exchanges have ended. */
  #turn: Promise<void> = Promise.resolve()
  #seq = 0
  #closed = false
  /** Start of the current run of exchanges without a turn of the event loop; undefined: there is none. */
  #busySinceMs: number | undefined

  constructor(open: OpenRawSocket) {
    this.#open = open
  }

  /** Resolves once the last message is answered. Rejects where the socket fails or the signal aborted. */
  run(exchange: Exchange, signal: AbortSignal): Promise<void> {
    const turn = this.#turn.then(async () => {
      await this.#letOthersRun()
      signal.throwIfAborted()
      await this.#send(exchange)
    })
    this.#turn = turn.catch(() => {})
    return turn
  }

  close(): void {
    this.#closed = true
    this.#fail(new Error('The netlink socket was closed'))
  }

  async #letOthersRun(): Promise<void> {
    if (this.#busySinceMs === undefined) {
      this.#busySinceMs = performance.now()
      setImmediate(() => {
        this.#busySinceMs = undefined
      })
    } else if (performance.now() - this.#busySinceMs > MAX_BUSY_MS) await new Promise(setImmediate)
  }

  #send(exchange: Exchange): Promise<void> {
    const { count } = exchange
    const first = this.#nextSeq(count)
    this.#writer.reset()
    for (let place = 0; place < count; place++) {
      exchange.write(this.#writer, place)
      this.#writer.stamp(first + place, exchange.flags(place))
    }
    return new Promise<void>((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined
      const settle = (error: Error | undefined) => {
        clearTimeout(timer)
        this.#running = undefined
        this.#socket?.ref(false)
        if (error === undefined) resolve()
        else reject(error)
      }
      const running = { exchange, first, last: first + count - 1, settle }
      this.#running = running
      try {
        const socket = this.#socketOrOpen()
        socket.send(this.#writer.written)
        socket.receive()
        if (this.#running !== running) return
        socket.ref(true)
        timer = setTimeout(() => this.#timeOut(running), ANSWER_MS)
      } catch (error) {
        this.#fail(asError(error))
      }
    })
  }

  /** Waits one more turn of the event loop first: the answer may be unread because this process was busy. */
  #timeOut(running: Running): void {
    setImmediate(() => {
      if (this.#running !== running) return
      const { act } = running.exchange
      this.#fail(new NetlinkTimeoutError(`${act}: the kernel did not answer within ${ANSWER_MS} ms`))
    })
  }

  #socketOrOpen(): RawSocket {
    if (this.#closed) throw new Error('The netlink socket was closed')
    this.#socket ??= this.#open(
      { onDatagram: datagram => this.#receive(datagram), onFailure: error => this.#fail(error) },
      RECEIVE_BYTES,
    )
    return this.#socket
  }

  #receive(datagram: Buffer): void {
    const messages = new Messages(datagram)
    while (messages.next()) {
      const running = this.#running
      const { type, seq } = messages
      // Ignore late replies to an exchange that has timed out.
      if (running === undefined || seq < running.first || seq > running.last) continue
      if (type !== NLMSG_ERROR) running.exchange.onMessage(messages)
      if (type !== NLMSG_ERROR && type !== NLMSG_DONE) continue
      const { errno, extack } = messages.outcome()
      running.exchange.onOutcome(seq - running.first, errno, extack)
      if (seq === running.last) running.settle(undefined)
    }
  }

  #fail(error: Error): void {
    const socket = this.#socket
    const running = this.#running
    this.#socket = undefined
    socket?.close()
    running?.settle(error)
  }

  /** The first of `count` consecutive numbers; they restart at 1 before they exceed 31 bits. */
  #nextSeq(count: number): number {
    if (this.#seq + count > 0x7fffffff) this.#seq = 0
    const first = this.#seq + 1
    this.#seq += count
    return first
  }
}
