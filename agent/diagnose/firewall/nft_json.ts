/** An object of libnftables-json(5). Its fields are foreign input: narrow each where it is read. */
export type Json = Readonly<Record<string, unknown>>

/** Empty if it is no object. */
export function objectOf(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {}
}

/** Empty if it is no array. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** `{ "jump": { "target": ... } }`: its name and argument. */
export function statementOf(statement: unknown): readonly [string, Json] {
  const object = objectOf(statement)
  const [name = ''] = Object.keys(object)
  return [name, objectOf(object[name])]
}

/** `{ "elem": { "val": ..., "counter": ... } }` is its value: an element with counter, comment or timeout. */
export function elementValue(element: unknown): unknown {
  const { elem } = objectOf(element)
  return elem === undefined ? element : objectOf(elem).val
}
