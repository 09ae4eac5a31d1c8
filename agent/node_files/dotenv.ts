/**
 * Parses a file of variables as godotenv 1.5.1 does, with which flanneld and the CNI plugin read subnet.env.
 * The npm package dotenv does not fit: it reads no `KEY:value`, expands no variables, and ends a value at any
 * `#`.
 *
 * One difference: godotenv gives up the whole file at a line that it cannot parse; this function skips the
 * line.
 */
export function readDotenv(text: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>()
  let rest = text
    .slice(0, MOST_CHARACTERS)
    .replace(/^\ufeff/, '')
    .replaceAll(/\r\n?/g, '\n')
  while (rest !== '') {
    const [whole = '', key, quoted, plain] = statement.exec(rest) ?? []
    if (key !== undefined) values.set(key.trim(), toValue(quoted, plain ?? '', values))
    const end = rest.indexOf('\n', whole.length)
    rest = end < 0 ? '' : rest.slice(end + 1)
  }
  return values
}

/** Longest text that is parsed: subnet.env has some hundred characters. */
const MOST_CHARACTERS = 65_536

/** `export KEY = 'value'`, or with a colon; a quoted value may span lines. */
const statement =
  /^[^\S\n]*(?:export\s+)?([\w.][\w. \t]*)[=:][^\S\n]*(?:('(?:\\'|[^'])*'|"(?:\\"|[^"])*")|([^'"\n][^\n]*)?)/

function toValue(quoted: string | undefined, plain: string, values: ReadonlyMap<string, string>): string {
  if (quoted?.startsWith("'")) return quoted.slice(1, -1)
  if (quoted !== undefined) return expand(withoutEscapes(quoted.slice(1, -1)), values)
  // A comment begins at a # after a blank.
  return expand(plain.replace(/(^|\s)#.*$/, '').trim(), values)
}

function withoutEscapes(text: string): string {
  const breaks: Readonly<Record<string, string>> = { n: '\n', r: '\r' }
  return text.replaceAll(/\\([^$])/g, (_, character: string) => breaks[character] ?? character)
}

/** Expands `$NAME` and `${NAME}` to the variable of a line above; `\$` is a dollar sign. */
function expand(text: string, values: ReadonlyMap<string, string>): string {
  return text.replaceAll(/(\\)?\$(\()?\{?([A-Z0-9_]*)\}?/g, (whole, escaped, call, name: string) => {
    if (escaped !== undefined || call !== undefined) return whole.slice(1)
    return values.get(name) ?? ''
  })
}
