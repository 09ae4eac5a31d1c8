/**
 * The words as one command line that a POSIX shell reads back as the same words: for commands that a log or the CLI prints for an
 * operator to paste. Words may be foreign input (a network config, a device's name).
 */
export function shellQuote(...words: readonly string[]): string {
  return words.map(quoted).join(' ')
}

/** bash and zsh read `$'\x1b'`: a control character must neither steer the terminal nor end the line. */
function quoted(word: string): string {
  if (/^[\w%+,./:=@-]+$/.test(word)) return word
  if (!/\p{Cc}/u.test(word)) return `'${word.replaceAll("'", `'\\''`)}'`
  const escaped = word
    .replaceAll(/[\\']/g, '\\$&')
    .replaceAll(/\p{Cc}/gu, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return `$'${escaped}'`
}
