import { NetlinkError, NetlinkTimeoutError } from './errno.ts'
import {
  Messages,
  MessageWriter,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
} from './message.ts'
import type { OpenRawSocket, RawSocket } from './raw_socket.ts'

/** Reads one message of an answer out of buffer[start..end). */
export type ReadMessage<T> = (buffer: Buffer, start: number, end: number, type: number) => T | undefined

/** Refused messages of a batch by their place in it. */
export type Refusals = ReadonlyMap<number, NetlinkError>

/** Errors are always acknowledged, and 256 of these fill a receive queue of the default size. */
const BATCH = 100
/** The kernel answers while it is asked: what has not come by then is lost. */
const ANSWER_MS = 10_000
const RECEIVE_BYTES = 4 * 1024 * 1024
/** A table that never stands still while it is read. */
const DUMP_TRIES = 10
const EINTR = 4
const ENOBUFS = 105

interface Exchange {
  readonly first: number
  readonly last: number
  onMessage(messages: Messages): void
  onOutcome(seq: number, errno: number, extack: string | undefined): void
  settle(error: Error | undefined): void
}

/**
 * Asks the kernel over one rtnetlink socket: one exchange at a time, as two dumps on one socket are refused. After a time-out
 * or a failure the next request opens the socket anew.
 */
export class NetlinkRequests {
  readonly #open: OpenRawSocket
  readonly #writer = new MessageWriter()
  #socket: RawSocket | undefined
  #exchange: Exchange | undefined
  /** Ends when all that was asked before has been answered. */
  #turn: Promise<void> = Promise.resolve()
  #seq = 0
  #closed = false

  constructor(open: OpenRawSocket) {
    this.#open = open
  }

  /** One message, acknowledged; what the kernel answers besides. Throws NetlinkError. */
  request<T>(
    act: string,
    write: (writer: MessageWriter) => void,
    read: ReadMessage<T>,
    signal: AbortSignal,
  ): Promise<T[]> {
    return this.#inTurn(signal, () => this.#ask(act, write, NLM_F_ACK, read))
  }

  /** All that `write` asks for. Throws NetlinkError; asks again where the kernel says that the answer is inconsistent. */
  dump<T>(
    act: string,
    write: (writer: MessageWriter) => void,
    read: ReadMessage<T>,
    signal: AbortSignal,
  ): Promise<T[]> {
    return this.#inTurn(signal, async () => {
      for (let i = 1; ; i++) {
        try {
          return await this.#ask(act, write, NLM_F_DUMP, read)
        } catch (error) {
          if (i >= DUMP_TRIES || !(error instanceof NetlinkError) || error.errno !== EINTR) throw error
          signal.throwIfAborted()
        }
      }
    })
  }

  /**
   * Sends `count` messages in order, each written by `write`; one that is refused does not stop the next. Those refused with
   * ENOBUFS are sent a second time, at the end.
   */
  async batch(
    count: number,
    write: (writer: MessageWriter, place: number) => void,
    signal: AbortSignal,
  ): Promise<Refusals> {
    const places = Array.from({ length: count }, (_, i) => i)
    const refusals = await this.#batches(places, write, signal)
    const again = [...refusals].flatMap(([place, error]) => (error.errno === ENOBUFS ? [place] : []))
    if (again.length === 0) return refusals
    for (const place of again) refusals.delete(place)
    return new Map([...refusals, ...(await this.#batches(again, write, signal))])
  }

  close(): void {
    this.#closed = true
    this.#fail(new Error('The netlink socket was closed'))
  }

  async #batches(
    places: readonly number[],
    write: (writer: MessageWriter, place: number) => void,
    signal: AbortSignal,
  ): Promise<Map<number, NetlinkError>> {
    const refusals = new Map<number, NetlinkError>()
    for (let at = 0; at < places.length; at += BATCH) {
      const some = places.slice(at, at + BATCH)
      await this.#inTurn(signal, () => this.#sendBatch(some, write, refusals))
    }
    return refusals
  }

  async #inTurn<T>(signal: AbortSignal, act: () => Promise<T>): Promise<T> {
    const before = this.#turn
    let done = () => {}
    this.#turn = new Promise(resolve => {
      done = resolve
    })
    try {
      await before
      signal.throwIfAborted()
      return await act()
    } finally {
      done()
    }
  }

  #ask<T>(
    act: string,
    write: (writer: MessageWriter) => void,
    flags: number,
    read: ReadMessage<T>,
  ): Promise<T[]> {
    const answers: T[] = []
    let refusal: NetlinkError | undefined
    let interrupted = false
    const seq = this.#nextSeq()
    this.#writer.reset()
    write(this.#writer)
    this.#writer.stamp(seq, flags)
    return new Promise<T[]>((resolve, reject) => {
      this.#start(act, {
        first: seq,
        last: seq,
        onMessage: messages => {
          if ((messages.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true
          if (messages.type === NLMSG_DONE) return
          const answer = read(messages.buffer, messages.start, messages.end, messages.type)
          if (answer !== undefined) answers.push(answer)
        },
        onOutcome: (_, errno, extack) => {
          if (errno !== 0) refusal = new NetlinkError(act, errno, extack)
          else if (interrupted) refusal = new NetlinkError(act, EINTR, 'the table changed while it was read')
        },
        settle: error => {
          const failed = error ?? refusal
          if (failed === undefined) resolve(answers)
          else reject(failed)
        },
      })
    })
  }

  #sendBatch(
    places: readonly number[],
    write: (writer: MessageWriter, place: number) => void,
    refusals: Map<number, NetlinkError>,
  ): Promise<void> {
    const writer = this.#writer
    const first = this.#nextSeq(places.length)
    const last = first + places.length - 1
    writer.reset()
    for (const [i, place] of places.entries()) {
      write(writer, place)
      writer.stamp(first + i, first + i === last ? NLM_F_ACK : 0)
    }
    return new Promise<void>((resolve, reject) => {
      this.#start(`Cannot send ${places.length} netlink messages`, {
        first,
        last,
        onMessage: () => {},
        onOutcome: (seq, errno, extack) => {
          const place = places[seq - first]
          if (errno !== 0 && place !== undefined)
            refusals.set(place, new NetlinkError('The kernel refused', errno, extack))
        },
        settle: error => (error === undefined ? resolve() : reject(error)),
      })
    })
  }

  /** Sends what the writer holds, and waits until its last message is answered. */
  #start(act: string, exchange: Exchange): void {
    const settle = (error: Error | undefined) => {
      clearTimeout(timer)
      this.#exchange = undefined
      this.#socket?.ref(false)
      exchange.settle(error)
    }
    let timer: NodeJS.Timeout | undefined
    try {
      const socket = this.#socketOrOpen()
      socket.ref(true)
      const mine = { ...exchange, settle }
      this.#exchange = mine
      socket.send(this.#writer.written, error => {
        if (error !== undefined) this.#fail(new Error(`${act}: ${error.message}`, { cause: error }))
      })
      // Started only now: sendmsg(2) does not return before the kernel has done it all, however long that takes. And the
      // answer may lie there unread when the time is up because this process was busy: hence one more turn of the loop.
      timer = setTimeout(() => {
        setImmediate(() => {
          if (this.#exchange === mine)
            this.#fail(new NetlinkTimeoutError(`${act}: the kernel did not answer within ${ANSWER_MS} ms`))
        })
      }, ANSWER_MS)
    } catch (error) {
      settle(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #socketOrOpen(): RawSocket {
    if (this.#closed) throw new Error('The netlink socket was closed')
    if (this.#socket === undefined) {
      this.#socket = this.#open(
        { onDatagram: datagram => this.#receive(datagram), onFailure: error => this.#fail(error) },
        RECEIVE_BYTES,
      )
    }
    return this.#socket
  }

  #receive(datagram: Buffer): void {
    const messages = new Messages(datagram)
    while (messages.next()) {
      const exchange = this.#exchange
      // What comes too late, for an exchange that was given up, is for nobody.
      if (exchange === undefined || messages.seq < exchange.first || messages.seq > exchange.last) continue
      const { type, seq } = messages
      if (type !== NLMSG_ERROR) exchange.onMessage(messages)
      if (type !== NLMSG_ERROR && type !== NLMSG_DONE) continue
      const { errno, extack } = messages.outcome()
      exchange.onOutcome(seq, errno, extack)
      if (seq === exchange.last) exchange.settle(undefined)
    }
  }

  #fail(error: Error): void {
    const socket = this.#socket
    const exchange = this.#exchange
    this.#socket = undefined
    socket?.close()
    exchange?.settle(error)
  }

  /** The first of `count` numbers in a row; they start again before they leave 32 bits. */
  #nextSeq(count = 1): number {
    if (this.#seq + count > 0x7fffffff) this.#seq = 0
    const first = this.#seq + 1
    this.#seq += count
    return first
  }
}
