/** So many lines of one kind may come at once, and one more each so many ms. */
const BURST = 20
const EACH_MS = 6_000
/** How long after the first line that is left out their number is said. */
const SUMMARY_MS = 10_000
/** Foreign text at the start of a line could make up any number of kinds. */
const KINDS = 200

interface Kind {
  readonly name: string
  left: number
  filledMs: number
  omitted: number
}

/**
 * Bounds how many lines of one kind are logged: peers, Nodes and other programs can cause as many as they like. The first are
 * logged; then their number, for as long as they come.
 */
export class LogBudget {
  readonly #now: () => number
  readonly #kinds = new Map<string, Kind>()

  /** `now` is monotonic, in ms. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Whether the line is to be written. `summarise` is called later with how many like it were not, and their kind. */
  admits(level: string, message: string, summarise: (omitted: number, kind: string) => void): boolean {
    const kind = this.#kind(level, message)
    const periods = Math.floor((this.#now() - kind.filledMs) / EACH_MS)
    kind.left = Math.min(BURST, kind.left + periods)
    kind.filledMs += periods * EACH_MS
    if (kind.left > 0) {
      kind.left--
      return true
    }
    if (kind.omitted === 0) setTimeout(() => this.#summarise(kind, summarise), SUMMARY_MS).unref()
    kind.omitted++
    return false
  }

  #summarise(kind: Kind, summarise: (omitted: number, kind: string) => void): void {
    const { omitted } = kind
    kind.omitted = 0
    summarise(omitted, kind.name)
  }

  #kind(level: string, message: string): Kind {
    const words = firstWords(message)
    const key = `${level} ${words}`
    const known = this.#kinds.get(key)
    if (known !== undefined) return known
    if (this.#kinds.size >= KINDS) return this.#others()
    return this.#add(key, words)
  }

  #others(): Kind {
    return this.#kinds.get('') ?? this.#add('', 'of other kinds')
  }

  #add(key: string, name: string): Kind {
    const kind = { name, left: BURST, filledMs: this.#now(), omitted: 0 }
    this.#kinds.set(key, kind)
    return kind
  }
}

/** What a message says, without what it says it of: names, addresses and numbers hold something else than letters. */
function firstWords(message: string): string {
  const [sentence = ''] = message.slice(0, 200).split(/[:;]/)
  return sentence
    .split(' ')
    .filter(word => /^[a-z-]+,?$/i.test(word))
    .slice(0, 6)
    .join(' ')
}
