import { existsSync, readFileSync } from 'node:fs'

// Kubernetes' API as @kubernetes/client-node declares it, generated from the OpenAPI document of one release.
// Reads the declarations instead of the classes, because only those tell which fields are required.
const models = 'node_modules/@kubernetes/client-node/dist/gen/models'

interface Field {
  readonly type: string
  readonly required: boolean
}

/** Faults of an object, one sentence each: unknown fields, missing fields, values of another type. */
export function problemsOf(object: unknown): readonly string[] {
  const { apiVersion, kind } = object as { apiVersion?: string; kind?: string }
  const version = apiVersion?.split('/').at(-1) ?? ''
  const type = `${version.charAt(0).toUpperCase()}${version.slice(1)}${kind}`
  if (!existsSync(`${models}/${type}.d.ts`)) return [`there is no ${kind} of ${apiVersion}`]
  return problems(object, type, `${kind}`)
}

function problems(value: unknown, type: string, path: string): readonly string[] {
  const items = /^Array<(.+)>$|^Set<(.+)>$/.exec(type)
  if (items !== null) {
    if (!Array.isArray(value)) return [`${path} is no list`]
    return value.flatMap((item, i) => problems(item, items[1] ?? items[2] ?? '', `${path}[${i}]`))
  }
  const map = /^\{ \[key: string\]: (.+); \}$/.exec(type.replaceAll(/\s+/g, ' '))
  if (map !== null)
    return isObject(value)
      ? Object.entries(value).flatMap(([key, one]) => problems(one, map[1] ?? '', `${path}.${key}`))
      : [`${path} is no map`]
  if (existsSync(`${models}/${type}.d.ts`)) return objectProblems(value, type, path)
  return isOf(value, type) ? [] : [`${path} is ${JSON.stringify(value)}: ${type} is needed`]
}

function objectProblems(value: unknown, type: string, path: string): readonly string[] {
  if (!isObject(value)) return [`${path} is ${JSON.stringify(value)}: ${type} is needed`]
  const fields = fieldsOf(type)
  const missing = Array.from(fields)
    .filter(([name, { required }]) => required && !(name in value))
    .map(([name]) => `${path}.${name} is missing`)
  return [
    ...missing,
    ...Object.entries(value).flatMap(([name, one]) => {
      const field = fields.get(name)
      return field === undefined
        ? [`${path} has no field ${name}`]
        : problems(one, field.type, `${path}.${name}`)
    }),
  ]
}

function isOf(value: unknown, type: string): boolean {
  if (type === 'any' || type === 'object') return true
  if (type === 'IntOrString') return typeof value === 'number' || typeof value === 'string'
  if (type === 'Date') return typeof value === 'string'
  return typeof value === type
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** In the declarations a reserved word begins with an underscore: `_continue`. */
function fieldsOf(type: string): ReadonlyMap<string, Field> {
  const text = readFileSync(`${models}/${type}.d.ts`, 'utf8')
  const body = text.slice(text.indexOf(`class ${type} {`), text.indexOf('static readonly'))
  const declared = body.matchAll(/^ {4}'_?([^']+)'(\??): ((?:[^;{]|\{[^}]*\})+);$/gm)
  return new Map(
    Array.from(declared, ([, name = '', optional, one = '']) => [
      name,
      { type: one, required: optional !== '?' },
    ]),
  )
}
