/** Most characters of one piece of foreign text. */
const PIECE = 200
/** Most characters of one of this program's sentences, with such pieces in it. */
const SENTENCE = 2_000

/**
 * Control characters (C0, C1), format characters that reorder or hide text, line and paragraph separators,
 * lone surrogates: they can steer a terminal or make a text look like another.
 */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/** Foreign text made safe for a log, terminal, label or Event: escaped, and cut with a note of its length. */
export function printable(text: string, most = PIECE): string {
  const cut = text.length > most ? `${text.slice(0, most)}… (${text.length} characters)` : text
  return cut.replaceAll(unprintable, escaped)
}

/** A copy of the document in which every text, keys included, went through `printable`. */
export function printableDocument<T>(document: T, most = SENTENCE): T {
  const shown = (value: unknown): unknown => {
    if (typeof value === 'string') return printable(value, most)
    if (Array.isArray(value)) return value.map(shown)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, field]) => [printable(key), shown(field)]))
  }
  return shown(document) as T
}

/** JSON of the same value. Characters that could steer a terminal are escaped inside its strings. */
export function printableJson(document: unknown): string {
  return JSON.stringify(document, null, 2).replaceAll(unprintable, char =>
    char === '\n' ? char : escaped(char),
  )
}

/** JSON's escape, one for each UTF-16 unit. */
function escaped(char: string): string {
  return Array.from(
    { length: char.length },
    (_, i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`,
  ).join('')
}
