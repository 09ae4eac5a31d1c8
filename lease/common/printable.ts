/** Longest piece of foreign text that is shown; a sentence of this program around it is longer. */
const PIECE = 200

/**
 * Control characters (C0, C1), format characters that reorder or hide text (bidi controls, zero-width ones), line and paragraph
 * separators, and halves of surrogate pairs: what steers a terminal, or shows another text than what it is.
 */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/** Text that comes from outside, as it may be shown in a log, a terminal, a label or an Event: escaped, and cut with a note. */
export function printable(text: string, most = PIECE): string {
  const cut = text.length > most ? `${text.slice(0, most)}… (${text.length} characters)` : text
  return cut.replaceAll(unprintable, escaped)
}

function escaped(char: string): string {
  const code = char.codePointAt(0) ?? 0
  const hex = code.toString(16)
  return code > 0xffff ? `\\u{${hex}}` : `\\u${hex.padStart(4, '0')}`
}
