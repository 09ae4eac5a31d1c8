/**
 * A probe's datagram and its answer, which together tell loss in one direction from loss in the other.
 *
 *     0       4       6            8         12         14
 *     | magic | number | answer size | session | received | padding ...
 *
 * The answer has the request's number and session, how many datagrams of that session have been counted, and
 * the requested size. All numbers are big endian.
 */
export interface Echo {
  /** COUNTED_BELOW and above: not counted. */
  readonly number: number
  /** Of the answer's payload, in bytes. */
  readonly answerSize: number
  readonly session: number
  /** Datagrams of this session so far; in answers. */
  readonly received: number
}

const MAGIC = 0x74777031
export const ECHO_HEADER = 14
/** Datagrams with a lower number are counted, once each. */
export const COUNTED_BELOW = 64

export function encodeEcho({ number, answerSize, session, received }: Echo, size: number): Buffer {
  const message = Buffer.alloc(Math.max(size, ECHO_HEADER))
  message.writeUInt32BE(MAGIC, 0)
  message.writeUInt16BE(number, 4)
  message.writeUInt16BE(answerSize, 6)
  message.writeUInt32BE(session, 8)
  message.writeUInt16BE(received, 12)
  return message
}

/** Undefined for other datagrams. */
export function decodeEcho(message: Buffer): Echo | undefined {
  if (message.length < ECHO_HEADER || message.readUInt32BE(0) !== MAGIC) return undefined
  return {
    number: message.readUInt16BE(4),
    answerSize: message.readUInt16BE(6),
    session: message.readUInt32BE(8),
    received: message.readUInt16BE(12),
  }
}
