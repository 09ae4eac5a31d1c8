/** Lines of one kind that may come at once; one more is allowed after each EACH_MS. */
const BURST = 20
const EACH_MS = 6_000
/** Time from the first omitted line to the summary of omitted lines. */
const SUMMARY_MS = 10_000
/** Kinds named in a summary, those with the most lines first. */
const NAMED = 5
/** Limit on kinds: foreign text at the start of a line could make up any number. */
const KINDS = 200

interface Kind {
  readonly name: string
  left: number
  usedMs: number
  omitted: number
}

/**
 * Limits the logged lines: peers, Nodes and other programs can cause any number. The first BURST lines of a
 * kind are logged. Of the lines beyond these, one of any kind is logged each EACH_MS, and the rest are
 * counted. A kind that pauses may have a burst again.
 */
export class LogBudget {
  readonly #now: () => number
  readonly #kinds = new Map<string, Kind>()
  #nextMs = 0
  #summary: NodeJS.Timeout | undefined

  /** `now` is monotonic, in ms. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Whether to write the line. `summarise` is called later with the number and kinds of omitted lines. */
  admits(level: string, message: string, summarise: (omitted: number, kinds: string) => void): boolean {
    const now = this.#now()
    const kind = this.#kind(level, message)
    kind.left = Math.min(BURST, kind.left + Math.floor((now - kind.usedMs) / EACH_MS))
    kind.usedMs = now
    if (kind.left > 0) {
      kind.left--
      return true
    }
    if (now >= this.#nextMs) {
      this.#nextMs = now + EACH_MS
      return true
    }
    kind.omitted++
    this.#summary ??= setTimeout(() => this.#summarise(summarise), SUMMARY_MS).unref()
    return false
  }

  #summarise(summarise: (omitted: number, kinds: string) => void): void {
    this.#summary = undefined
    const kinds = [...this.#kinds.values()].filter(({ omitted }) => omitted > 0)
    const most = kinds.toSorted((a, b) => b.omitted - a.omitted).slice(0, NAMED)
    const total = kinds.reduce((sum, { omitted }) => sum + omitted, 0)
    const named = most.map(({ omitted, name }) => `${omitted} '${name}'`)
    for (const kind of kinds) kind.omitted = 0
    summarise(total, kinds.length > NAMED ? `${named.join(', ')} and others` : named.join(', '))
  }

  #kind(level: string, message: string): Kind {
    const words = firstWords(message)
    const key = `${level} ${words}`
    const isNew = !this.#kinds.has(key)
    if (isNew && this.#kinds.size >= KINDS) return this.#kinds.get('') ?? this.#add('', 'of other kinds')
    return this.#kinds.get(key) ?? this.#add(key, words)
  }

  #add(key: string, name: string): Kind {
    const kind = { name, left: BURST, usedMs: this.#now(), omitted: 0 }
    this.#kinds.set(key, kind)
    return kind
  }
}

/** A message without names, addresses and numbers: their words contain characters other than letters. */
function firstWords(message: string): string {
  const [sentence = ''] = message.slice(0, 200).split(/[:;]/)
  const words = sentence.split(' ').filter(word => /^[a-z-]+,?$/i.test(word))
  return words.slice(0, 6).join(' ')
}
