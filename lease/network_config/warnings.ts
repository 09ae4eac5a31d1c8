import { duplicateKeys } from '../json/faults.ts'
import { asObject, MAX_LEASE_BYTES, parseJson, printJson } from '../json/json.ts'

const TOP = [
  'Network',
  'IPv6Network',
  'EnableIPv4',
  'EnableIPv6',
  'EnableNFTables',
  'SubnetLen',
  'SubnetMin',
  'SubnetMax',
  'IPv6SubnetLen',
  'IPv6SubnetMin',
  'IPv6SubnetMax',
  'Backend',
]
/** Name and MacPrefix are for Windows nodes and have no effect here. */
const VXLAN = ['Type', 'VNI', 'Port', 'MTU', 'GBP', 'Learning', 'DirectRouting', 'Name', 'MacPrefix']
/** Most warnings for one config. */
const MAX_WARNINGS = 10

/** Warnings about keys of a valid config without effect: misspelt, in the wrong place, or written twice. */
export function networkConfigWarnings(text: string): readonly string[] {
  const fields = asObject('the network config', parseJson(text, MAX_LEASE_BYTES))
  const backend = asObject('Backend', lastOf(fields, 'backend') ?? {})
  const type = String(lastOf(backend, 'type') ?? 'vxlan').toLowerCase()
  const warnings = [
    ...unknownKeys(fields, TOP, key => misplaced(key, '', VXLAN, 'belongs into Backend')),
    ...(type === 'vxlan'
      ? unknownKeys(backend, VXLAN, key =>
          misplaced(key, 'Backend.', TOP, 'belongs beside Backend, not into it'),
        )
      : []),
    ...duplicateKeys(text).map(
      path => `${printJson(path)} stands more than once in the network config: the last one counts`,
    ),
  ]
  return warnings.slice(0, MAX_WARNINGS)
}

/** The value of the key in any case; the last one counts. */
function lastOf(fields: object, key: string): unknown {
  return Object.entries(fields).findLast(([name]) => name.toLowerCase() === key)?.[1]
}

function unknownKeys(
  fields: object,
  known: readonly string[],
  elsewhere: (key: string) => string | undefined,
): readonly string[] {
  const lower = new Set(known.map(name => name.toLowerCase()))
  return Object.keys(fields)
    .filter(key => !lower.has(key.toLowerCase()))
    .map(key => {
      const near = known.find(name => isNear(name.toLowerCase(), key.toLowerCase()))
      const meant = near === undefined ? '' : `; is ${near} meant?`
      return elsewhere(key) ?? `${printJson(key)} is no key of the network config and is ignored${meant}`
    })
}

function misplaced(key: string, before: string, names: readonly string[], where: string): string | undefined {
  const name = names.find(it => it.toLowerCase() === key.toLowerCase())
  return name === undefined ? undefined : `${before}${name} of the network config is ignored: it ${where}`
}

/** Whether the second begins with the first, or two letters at most are added, dropped or exchanged. */
function isNear(a: string, b: string): boolean {
  if (b.startsWith(a)) return true
  if (Math.abs(a.length - b.length) > 2) return false
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++)
      next.push(Math.min((row[j] ?? 0) + Number(letter !== b[j]), (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    row = next
  }
  return (row[b.length] ?? 3) <= (a.length <= 4 ? 1 : 2)
}
