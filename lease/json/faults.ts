/**
 * Explains faults in hand-written JSON so that an operator can mend them; Go and JavaScript say little more
 * than "invalid character". `parseJson` bounds the text before it comes here.
 */

interface Token {
  readonly kind: 'comment' | 'string' | 'quoted' | 'mark' | 'word'
  readonly text: string
  readonly at: number
}

/** An object or list that is still open at a place in the text, and what is expected there. */
interface Level {
  readonly isObject: boolean
  readonly keys: Set<string>
  /** The key whose value is read. */
  key: string
  /** Whether the next string of an object is a key. */
  expectsKey: boolean
}

const pattern =
  /(?<comment>\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|#[^\n]*)|(?<string>"(?:[^"\\\n]|\\.)*")|(?<quoted>'[^'\n]*'|[\u201c\u201d][^\u201c\u201d\n]*[\u201c\u201d])|(?<mark>[{}[\],:])|(?<word>[^\s{}[\],:"'#/\u201c\u201d]+|\S)/gu

const literal = /^(true|false|null|-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?)$/

/** The first fault that has a well-known name, with its line and column; undefined where there is none. */
export function nameFault(text: string): string | undefined {
  if (text.includes('\0')) return 'it is UTF-16, as some Windows programs save text: save it as UTF-8'
  if (isEncodedTwice(text))
    return 'it is JSON inside of a JSON string, encoded twice: store the object itself, without the outer quotes and backslashes'
  let before: Token | undefined
  let open = 0
  for (const token of tokens(text)) {
    const fault = faultOf(token, before)
    if (fault !== undefined) return `${fault} at ${placeOf(text, token.at)}`
    if ('{['.includes(token.text)) open++
    else if ('}]'.includes(token.text)) open--
    before = token
  }
  return open > 0 ? `it ends before it is complete: ${open} bracket(s) are not closed` : undefined
}

/** Whether the text is JSON inside of a JSON string. Both levels must parse: else it has another fault. */
function isEncodedTwice(text: string): boolean {
  if (!/^\s*"\s*\{\s*\\"(\\.|[^"\\])*"\s*$/.test(text)) return false
  try {
    JSON.parse(String(JSON.parse(text)))
    return true
  } catch {
    return false
  }
}

function faultOf(token: Token, before: Token | undefined): string | undefined {
  if (token.kind === 'comment') return `a comment, which JSON does not have: remove ${shown(token)}`
  if (token.kind === 'quoted') return `other quotes than "…": write ${shown(token)} with plain double quotes`
  if (before?.text === ',' && '}],'.includes(token.text)) return 'a comma with nothing after it: remove it'
  if (token.kind === 'word' && !literal.test(token.text))
    return `${shown(token)} is neither a number, true, false nor null: text needs double quotes`
  const isValue = token.kind !== 'mark' || '{['.includes(token.text)
  const endsValue = before !== undefined && (before.kind !== 'mark' || '}]'.includes(before.text))
  return isValue && endsValue ? `a missing comma or colon before ${shown(token)}` : undefined
}

/** Keys twice in one object, in any case: `Backend.VNI`. Go and JavaScript take the last one. */
export function duplicateKeys(text: string): readonly string[] {
  const levels: Level[] = []
  const found: string[] = []
  for (const { kind, text: part } of tokens(text)) {
    const level = levels.at(-1)
    if (part === '{' || part === '[')
      levels.push({ isObject: part === '{', keys: new Set(), key: '', expectsKey: part === '{' })
    else if (part === '}' || part === ']') levels.pop()
    else if (level !== undefined && part === ',') level.expectsKey = level.isObject
    else if (level?.expectsKey && kind === 'string') {
      level.expectsKey = false
      level.key = String(JSON.parse(part))
      const key = level.key.toLowerCase()
      if (level.keys.has(key)) found.push(levels.map(it => it.key).join('.'))
      level.keys.add(key)
    }
  }
  return found
}

function* tokens(text: string): Iterable<Token> {
  for (const { groups = {}, index } of text.matchAll(pattern)) {
    const [kind, part] = Object.entries(groups).find(([, found]) => found !== undefined) ?? []
    if (kind !== undefined && part !== undefined) yield { kind: kind as Token['kind'], text: part, at: index }
  }
}

function placeOf(text: string, at: number): string {
  const lines = text.slice(0, at).split('\n')
  return `line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1}`
}

function shown({ text }: Token): string {
  return text.length <= 40 ? text : `${text.slice(0, 40)}...`
}
