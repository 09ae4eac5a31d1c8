import { NetlinkDecodeError, NLA_TYPE_MASK } from './attributes.ts'

/** Which parts of a message type describe the object, and which change by themselves, such as ages. */
export interface MessageForm {
  /** Length of the fixed part in bytes: a multiple of four. */
  readonly header: number
  /** Bit n set: attributes of type n (below 32) change by themselves and do not count. */
  readonly changing: number
  /** False for an object that the kernel adds and removes by itself: it does not count. */
  readonly isLasting?: (buffer: Buffer, start: number) => boolean
}

/**
 * Sums up thousands of messages without an object for each: 64 bits, equal only for the same messages in the
 * same order. Reads words: run once a minute, in V8's interpreter, a Buffer method costs more than the
 * kernel's work.
 */
export class Fingerprint {
  #a = 0
  #b = 0
  #buffer: Buffer | undefined
  #words: Int32Array = new Int32Array()

  get text(): string {
    return `${(this.#a >>> 0).toString(16)}.${(this.#b >>> 0).toString(16)}`
  }

  /** The message lies in buffer[start..end), where start is a multiple of four. Throws NetlinkDecodeError. */
  add({ header, changing, isLasting }: MessageForm, buffer: Buffer, start: number, end: number): void {
    if (isLasting?.(buffer, start) === false) return
    if (start + header > end)
      throw new NetlinkDecodeError(`Cannot read a netlink message: it lacks ${start + header - end} bytes`)
    if (buffer !== this.#buffer) this.#setBuffer(buffer)
    this.#mix(start, start + header)
    let at = start + header
    // nla_ok(): fewer bytes than a header at the end are padding.
    while (end - at >= 4) {
      const head = this.#words[at >> 2] ?? 0
      const length = head & 0xffff
      if (length < 4 || length > end - at)
        throw new NetlinkDecodeError(`Cannot read a netlink attribute: length ${length} of ${end - at} bytes`)
      // Includes the attribute's header: its length and type count too.
      const type = (head >>> 16) & NLA_TYPE_MASK
      if (type > 31 || ((changing >>> type) & 1) === 0) this.#mix(at, at + length)
      at += (length + 3) & ~3
    }
  }

  /** Maps the buffer to words, once for each new view. Words must start at a multiple of four. */
  #setBuffer(buffer: Buffer): void {
    const aligned = (buffer.byteOffset & 3) === 0 ? buffer : new Uint8Array(buffer)
    this.#words = new Int32Array(aligned.buffer, aligned.byteOffset, aligned.length >> 2)
    this.#buffer = buffer
  }

  #mix(start: number, end: number): void {
    const words = this.#words
    let a = this.#a
    let b = this.#b
    const whole = end >> 2
    const rest = end & 3
    for (let i = start >> 2; i < whole + Number(rest > 0); i++) {
      // The padding does not count.
      const word = i < whole ? (words[i] ?? 0) : (this.#buffer?.readUIntLE(end - rest, rest) ?? 0)
      // The rotations move high bits down; a multiplication alone does not.
      a = Math.imul(((a << 5) | (a >>> 27)) ^ word, 0x9e3779b1)
      b = Math.imul(((b << 13) | (b >>> 19)) ^ word, 0x85ebca6b)
    }
    this.#a = a
    this.#b = b
  }
}
