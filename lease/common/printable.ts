/** The longest piece of foreign text that is shown. */
const PIECE = 200
/** The longest sentence of this program, with such pieces in it. */
const SENTENCE = 2_000

/**
 * Control characters (C0, C1), format characters that reorder or hide text (bidi controls, zero-width ones),
 * line and paragraph separators, and lone surrogates. They can steer a terminal or make a text look like
 * another.
 */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/**
 * Foreign text made safe for a log, a terminal, a metric label or an Event: escaped, and cut with a note of
 * its length.
 */
export function printable(text: string, most = PIECE): string {
  const cut = text.length > most ? `${text.slice(0, most)}… (${text.length} characters)` : text
  return cut.replaceAll(unprintable, escaped)
}

/** A document for a person: the same for every text in it. */
export function printableDocument<T>(document: T, most = SENTENCE): T {
  const shown = (value: unknown): unknown => {
    if (typeof value === 'string') return printable(value, most)
    if (Array.isArray(value)) return value.map(shown)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, field]) => [printable(key), shown(field)]))
  }
  return shown(document) as T
}

/** JSON of the same value, of which a terminal shows every character: what steers it stands escaped in its strings. */
export function printableJson(document: unknown): string {
  return JSON.stringify(document, null, 2).replaceAll(unprintable, char =>
    char === '\n' ? char : escaped(char),
  )
}

/** In UTF-16 units, as JSON has it. */
function escaped(char: string): string {
  return Array.from(
    { length: char.length },
    (_, i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`,
  ).join('')
}
