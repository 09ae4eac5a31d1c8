/** Foreign JSON, read as Go's encoding/json reads it: flanneld's configs and values are written for that. */

/** Deeper than anything that flannel writes, shallow enough for every recursive function that may meet it later. */
const MAX_DEPTH = 32
const MAX_PRINTED = 120

/** Keys in lower case: Go matches a key with a field in any case, and the last one in the text wins. */
export type Fields = ReadonlyMap<string, unknown>

/** Throws an Error whose message says what is wrong with the text; callers wrap it in their own class. */
export function parseFields(text: string): Fields {
  const value: unknown = JSON.parse(text)
  if (!isWithin(value, MAX_DEPTH)) throw new Error(`it is nested deeper than ${MAX_DEPTH} levels`)
  const fields = fieldsOf(value)
  if (fields === undefined) throw new Error(`a JSON object is needed, this is ${printJson(value)}`)
  return fields
}

/** Undefined where the value is no JSON object. */
export function fieldsOf(value: unknown): Fields | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return new Map(Object.entries(value).map(([key, field]) => [key.toLowerCase(), field]))
}

/** Undefined where it is missing or null: Go leaves the field as it was for both. */
export function field(fields: Fields, name: string): unknown {
  return fields.get(name.toLowerCase()) ?? undefined
}

/** A value for an error message: JSON on one line, cut where it is long. */
export function printJson(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length <= MAX_PRINTED ? text : `${text.slice(0, MAX_PRINTED)}...`
}

/** The text that Go's json.Marshal writes: compact, with `<`, `>`, `&` and the two line separators escaped. */
export function goJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function isWithin(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  return depth > 0 && Object.values(value).every(child => isWithin(child, depth - 1))
}
