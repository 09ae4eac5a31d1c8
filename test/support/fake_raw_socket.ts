import { Messages } from '../../agent/netlink/codec/message.ts'
import type { OpenRawSocket, RawSocketEvents } from '../../agent/netlink/socket/raw_socket.ts'

/** Header fields of one message that was sent. */
export interface Sent {
  readonly type: number
  readonly flags: number
  readonly seq: number
}

/** Sockets without a kernel: the test sees each sent datagram as its messages, and gives the answers. */
export class FakeRawSockets {
  /** Each datagram that was sent. */
  readonly sent: Sent[][] = []
  opened = 0
  closed = 0
  /** The kernel's answers; none by default. */
  answer: (messages: readonly Sent[]) => readonly Buffer[] = () => []
  #events: RawSocketEvents | undefined

  readonly open: OpenRawSocket = events => {
    this.opened++
    this.#events = events
    const answers: Buffer[] = []
    return {
      send: datagram => {
        const messages = messagesOf(datagram)
        this.sent.push(messages)
        answers.push(...this.answer(messages))
      },
      receive: () => {
        for (const answer of answers.splice(0)) this.deliver(answer)
      },
      join: () => {},
      isEmpty: () => true,
      drops: () => 0,
      ref: () => {},
      close: () => {
        this.closed++
      },
    }
  }

  /** As the real socket: where the handler throws, the socket fails. */
  deliver(datagram: Buffer): void {
    try {
      this.#events?.onDatagram(datagram)
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)))
    }
  }

  fail(error: Error): void {
    this.#events?.onFailure(error)
  }
}

function messagesOf(datagram: Buffer): Sent[] {
  const messages = new Messages(datagram)
  const sent: Sent[] = []
  while (messages.next()) sent.push({ type: messages.type, flags: messages.flags, seq: messages.seq })
  return sent
}

/** One message of the kernel. */
export function message(type: number, flags: number, seq: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(16)
  header.writeUInt32LE(16 + payload.length, 0)
  header.writeUInt16LE(type, 4)
  header.writeUInt16LE(flags, 6)
  header.writeUInt32LE(seq, 8)
  return Buffer.concat([header, payload])
}

/** NLMSG_ERROR as with NETLINK_CAP_ACK and NETLINK_EXT_ACK; errno 0 is the acknowledgement. */
export function acknowledgement(seq: number, errno = 0, text?: string): Buffer {
  const payload = Buffer.alloc(20)
  payload.writeInt32LE(-errno, 0)
  if (text === undefined) return message(2, 0x100, seq, payload)
  const attribute = Buffer.alloc(4 + ((text.length + 4) & ~3))
  attribute.writeUInt16LE(4 + text.length + 1, 0)
  attribute.writeUInt16LE(1, 2)
  attribute.write(text, 4)
  return message(2, 0x100 | 0x200, seq, Buffer.concat([payload, attribute]))
}

/** NLMSG_DONE with an outcome. */
export function done(seq: number, errno = 0, flags = 0): Buffer {
  const payload = Buffer.alloc(4)
  payload.writeInt32LE(-errno, 0)
  return message(3, 0x2 | flags, seq, payload)
}
