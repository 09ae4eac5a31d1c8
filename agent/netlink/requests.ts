import {
  type Messages,
  type MessageWriter,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
} from './codec/message.ts'
import { NetlinkError } from './errno.ts'
import { Exchanges } from './exchanges.ts'
import type { OpenRawSocket } from './socket/raw_socket.ts'

/** Parses one message of an answer in buffer[start..end); undefined: skip it. */
export type ReadMessage<T> = (buffer: Buffer, start: number, end: number, type: number) => T | undefined

type Write = (writer: MessageWriter) => void
type WriteAt = (writer: MessageWriter, place: number) => void

/** Refused messages of a batch, by their place in it. */
export type Refusals = ReadonlyMap<number, NetlinkError>

/** Messages sent at once. 256 answers to refused ones fill a receive queue of the default size. */
const BATCH_SIZE = 100
/** How often to read a table that keeps changing while it is read. */
const DUMP_TRIES = 10
const EINTR = 4
const ENOBUFS = 105

export type Requests = Pick<NetlinkRequests, 'request' | 'dump'>

export class NetlinkRequests {
  readonly #exchanges: Exchanges

  constructor(open: OpenRawSocket) {
    this.#exchanges = new Exchanges(open)
  }

  /** Sends one message with an acknowledgement. Resolves to the parsed answers. Throws NetlinkError. */
  request<T>(act: string, write: Write, read: ReadMessage<T>, signal: AbortSignal): Promise<T[]> {
    return this.#ask(act, write, NLM_F_ACK, read, signal)
  }

  /** Resolves to the whole table; asks again where it changed meanwhile. Throws NetlinkError. */
  async dump<T>(act: string, write: Write, read: ReadMessage<T>, signal: AbortSignal): Promise<T[]> {
    for (let i = 1; ; i++) {
      try {
        return await this.#ask(act, write, NLM_F_DUMP, read, signal)
      } catch (error) {
        if (i >= DUMP_TRIES || !(error instanceof NetlinkError) || error.errno !== EINTR) throw error
      }
    }
  }

  /** A refused message does not stop the next; those refused with ENOBUFS are sent once more, at the end. */
  async batch(count: number, write: WriteAt, signal: AbortSignal): Promise<Refusals> {
    const refusals = new Map<number, NetlinkError>()
    const send = (places: readonly number[]) => this.#batches(places, write, refusals, signal)
    await send(Array.from({ length: count }, (_, i) => i))
    const again = [...refusals].flatMap(([place, error]) => (error.errno === ENOBUFS ? [place] : []))
    for (const place of again) refusals.delete(place)
    await send(again)
    return refusals
  }

  close(): void {
    this.#exchanges.close()
  }

  async #ask<T>(
    act: string,
    write: Write,
    flags: number,
    read: ReadMessage<T>,
    signal: AbortSignal,
  ): Promise<T[]> {
    const answers: T[] = []
    const refusals: NetlinkError[] = []
    let isInterrupted = false
    const exchange = {
      act,
      count: 1,
      flags: () => flags,
      write,
      onMessage: ({ buffer, start, end, type, flags }: Messages) => {
        if ((flags & NLM_F_DUMP_INTR) !== 0) isInterrupted = true
        if (type === NLMSG_DONE) return
        const answer = read(buffer, start, end, type)
        if (answer !== undefined) answers.push(answer)
      },
      onOutcome: (_: number, errno: number, extack: string | undefined) => {
        if (errno !== 0) refusals.push(new NetlinkError(act, errno, extack))
        else if (isInterrupted)
          refusals.push(new NetlinkError(act, EINTR, 'the table changed while it was read'))
      },
    }
    await this.#exchanges.run(exchange, signal)
    const refusal = refusals.at(-1)
    if (refusal !== undefined) throw refusal
    return answers
  }

  async #batches(
    places: readonly number[],
    write: WriteAt,
    refusals: Map<number, NetlinkError>,
    signal: AbortSignal,
  ): Promise<void> {
    for (let at = 0; at < places.length; at += BATCH_SIZE) {
      const some = places.slice(at, at + BATCH_SIZE)
      const placeOf = (i: number) => some[i] ?? 0
      const exchange = {
        act: `Cannot send ${some.length} netlink messages`,
        count: some.length,
        flags: (i: number) => (i === some.length - 1 ? NLM_F_ACK : 0),
        write: (writer: MessageWriter, i: number) => write(writer, placeOf(i)),
        onMessage: () => {},
        onOutcome: (i: number, errno: number, extack: string | undefined) => {
          if (errno !== 0) refusals.set(placeOf(i), new NetlinkError('The kernel refused', errno, extack))
        },
      }
      await this.#exchanges.run(exchange, signal)
    }
  }
}
