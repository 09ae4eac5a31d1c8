import { ForeignBody, MOST_NODES, TooLongError } from '../client/foreign_body.ts'

/**
 * Splits a list's JSON while it arrives: passes on each member of `items`, and returns the rest, the
 * envelope, at the end. Parsing a page of 100 Nodes at once leaves several MB of garbage in V8's old space,
 * which grows by as much; the garbage of a single Node is freed early. Works on bytes: in UTF-8 no part of a
 * longer character equals a bracket or quote.
 */
export class ListBody {
  readonly #onItem: (json: string) => void
  /** The member being read, and the envelope. */
  readonly #item = new ForeignBody()
  readonly #envelope = new ForeignBody()
  #members = 0
  #depth = 0
  #inString = false
  /** The byte before was a backslash that escapes this one. */
  #escaped = false
  /** Text of the string at depth 1 that is being read, or was last. */
  #key = ''
  #inItems = false

  constructor(onItem: (json: string) => void) {
    this.#onItem = onItem
  }

  /** Throws TooLongError for a member or envelope larger, and for more members, than any real ones. */
  push(chunk: Buffer): void {
    let from = 0
    let at = 0
    while (at < chunk.length) {
      if (this.#inString) {
        at = this.#skipString(chunk, at)
        continue
      }
      const byte = chunk[at++]
      if (byte === quote) {
        this.#inString = true
        if (this.#depth === 1) this.#key = ''
      } else if (byte === openBrace || byte === openBracket) {
        if (this.#inItems && this.#depth === 2) from = this.#startItem(chunk, from, at - 1)
        this.#depth++
        if (this.#depth === 2 && byte === openBracket && this.#key === 'items') this.#inItems = true
      } else if (byte === closeBrace || byte === closeBracket) {
        this.#depth--
        if (this.#inItems && this.#depth === 2) from = this.#endItem(chunk, from, at)
        if (this.#depth === 1) this.#inItems = false
      } else if (byte === comma && this.#inItems && this.#depth === 2) {
        // Drops the commas between members too: the envelope has to be valid JSON.
        this.#keep(chunk, from, at - 1)
        from = at
      }
    }
    this.#keep(chunk, from, chunk.length)
  }

  /** The list without its members: `items` is empty. Throws where the body was no JSON, or not all of it. */
  end(): unknown {
    return JSON.parse(this.#envelope.take())
  }

  /** Returns the position after the string, or the chunk's end. */
  #skipString(chunk: Buffer, start: number): number {
    let at = start
    for (; at < chunk.length; at++) {
      const byte = chunk[at]
      if (this.#escaped) this.#escaped = false
      else if (byte === backslash) this.#escaped = true
      else if (byte === quote) {
        this.#inString = false
        break
      }
      if (this.#depth === 1 && byte !== undefined && this.#key.length < 6)
        this.#key += String.fromCharCode(byte)
    }
    return at + 1
  }

  #startItem(chunk: Buffer, from: number, at: number): number {
    this.#keep(chunk, from, at)
    return at
  }

  #endItem(chunk: Buffer, from: number, to: number): number {
    if (++this.#members > MOST_NODES) throw new TooLongError('list')
    this.#item.push(chunk.subarray(from, to))
    this.#onItem(this.#item.take())
    return to
  }

  /** Copies a part of the chunk, whose memory will be reused. */
  #keep(chunk: Buffer, from: number, to: number): void {
    if (from === to) return
    const part = chunk.subarray(from, to)
    if (this.#inItems && this.#depth > 2) this.#item.push(Buffer.from(part))
    else if (!this.#inItems || !part.every(isSpace)) this.#envelope.push(Buffer.from(part))
  }
}

/** Indented JSON has it between all members: the envelope would grow with them. */
function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

const quote = 0x22
const comma = 0x2c
const openBracket = 0x5b
const backslash = 0x5c
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
