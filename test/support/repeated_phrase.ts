/** This many equal words in a row are no coincidence. */
const WORDS = 7

/** The phrase that a text repeats word for word; undefined where there is none. */
export function repeatedPhrase(text: string): string | undefined {
  const words = text.split(/[\s"{}]+/)
  const said = new Map<string, number>()
  for (const end of words.keys()) {
    const phrase = words.slice(Math.max(0, end - WORDS), end).join(' ')
    const before = said.get(phrase)
    if (end >= WORDS && before !== undefined && end - before >= WORDS) return phrase
    if (before === undefined) said.set(phrase, end)
  }
  return undefined
}
