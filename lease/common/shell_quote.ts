/** One command line for a POSIX shell, from words that may be foreign input, for operators to paste. */
export function shellQuote(...words: readonly string[]): string {
  return words.map(quoted).join(' ')
}

/** Control characters become `$'\x1b'` (bash, zsh): they cannot steer the terminal or end the line. */
function quoted(word: string): string {
  if (/^[\w%+,./:=@-]+$/.test(word)) return word
  if (!/\p{Cc}/u.test(word)) return `'${word.replaceAll("'", `'\\''`)}'`
  const escaped = word
    .replaceAll(/[\\']/g, '\\$&')
    .replaceAll(/\p{Cc}/gu, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return `$'${escaped}'`
}
