/**
 * The one reader for foreign JSON: bounded in size and depth before it is parsed, and read as Go's
 * encoding/json reads it, since flanneld's configs and values are written for that.
 */

import { DataError, messageOf, orUndefined } from '../common/errors.ts'
import { isRecord } from './path.ts'

/** Bytes of a whole lease in etcd, and of one family's backend data: flannel writes about 200 and 50. */
export const MAX_LEASE_BYTES = 64 * 1024
export const MAX_BACKEND_DATA_BYTES = 4 * 1024
/** Deeper than what flannel writes, shallow enough for any recursive function that meets it later. */
const MAX_DEPTH = 32
const MAX_PRINTED = 120

/** The text is no JSON, or longer or deeper than allowed. The message says what is wrong. */
export class JsonError extends DataError {
  override name = 'JsonError'
}

/** Keys in lower case: Go matches a key with a field in any case, and the last one in the text wins. */
export type Fields = ReadonlyMap<string, unknown>

/** Parses a text of at most `maxBytes` and MAX_DEPTH levels. Throws JsonError and nothing else. */
export function parseJson(text: string, maxBytes: number): unknown {
  // Every UTF-16 unit is at least one byte: a huge text is refused before it is measured.
  if (text.length > maxBytes || Buffer.byteLength(text) > maxBytes)
    throw new JsonError(`it is longer than ${maxBytes} bytes`)
  if (isDeeperThan(text, MAX_DEPTH)) throw new JsonError(`it is nested deeper than ${MAX_DEPTH} levels`)
  try {
    // Editors on Windows put a byte order mark at the start of a file.
    return JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text)
  } catch (cause) {
    throw new JsonError(messageOf(cause), { cause })
  }
}

/** The fields of a JSON object, bounded as by `parseJson`. Throws JsonError. */
export function parseFields(text: string, maxBytes = MAX_LEASE_BYTES): Fields {
  const value = parseJson(text, maxBytes)
  const fields = fieldsOf(value)
  if (fields === undefined) throw new JsonError(`a JSON object is needed, this is ${printJson(value)}`)
  return fields
}

/** Undefined where the value is no JSON object. */
export function fieldsOf(value: unknown): Fields | undefined {
  if (!isRecord(value)) return undefined
  return new Map(Object.entries(value).map(([key, field]) => [key.toLowerCase(), field]))
}

/** Undefined where it is missing or null: Go leaves the field as it was for both. */
export function field(fields: Fields, name: string): unknown {
  return fields.get(name.toLowerCase()) ?? undefined
}

/** `name` is for the message. Look up fixed keys only. Throws JsonError, as do the three functions below. */
export function asObject(name: string, value: unknown): Readonly<Record<string, unknown>> {
  if (isRecord(value)) return value
  throw new JsonError(`${name} is no object`)
}

export function asList(name: string, value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  throw new JsonError(`${name} is no list`)
}

export function asText(name: string, value: unknown, maxLength: number): string {
  if (typeof value === 'string' && value.length <= maxLength) return value
  throw new JsonError(`${name} is no text of at most ${maxLength} characters`)
}

export function asNumber(name: string, value: unknown, min: number, max: number): number {
  if (typeof value === 'number' && value >= min && value <= max) return value
  throw new JsonError(`${name} is no number from ${min} to ${max}`)
}

/** A value for an error message: JSON on one line, cut where it is long. */
export function printJson(value: unknown): string {
  const start = typeof value === 'string' ? value.slice(0, MAX_PRINTED + 1) : value
  const text = orUndefined(() => JSON.stringify(start) ?? 'nothing') ?? 'JSON that is nested too deeply'
  if (text.length <= MAX_PRINTED) return text
  // Copied, because V8 keeps a whole text in memory as long as a slice of it is in use.
  return `${Buffer.from(text.slice(0, MAX_PRINTED))}...`
}

/** As Go's json.Marshal: compact, with `<`, `>`, `&` and the two line separators escaped. */
export function goJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Counts brackets outside of strings, without recursion; without meaning for a text that is no JSON. */
function isDeeperThan(text: string, limit: number): boolean {
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === quote) at = endOfString(text, at)
    else if (char === openBrace || char === openBracket) {
      if (++depth > limit) return true
    } else if (char === closeBrace || char === closeBracket) depth--
  }
  return false
}

/** Position of the closing quote of the string that opens at `start`, or the text's length. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === quote) return at
    if (char === backslash) at++
  }
  return text.length
}

const quote = 0x22
const openBracket = 0x5b
const backslash = 0x5c
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
