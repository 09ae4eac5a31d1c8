import type { Log } from './log.ts'

export interface TroubleLogOptions {
  /** Log a failure once it has lasted this long: a change of etcd's leader takes 1 to 3 s. 0: at once. */
  readonly sayAfterMs: number
  /** A monotonic clock in milliseconds. */
  readonly now: () => number
  readonly log: Log
}

/** The same text is logged at most once in this time. */
const SAY_AGAIN_MS = 300_000
/** After this many unlogged troubles within `SAY_AGAIN_MS` the next one is logged at once. */
const BRIEF = 3
/** Most texts that are remembered: an endpoint could send any number of different ones. */
const TEXTS = 20

/** Logs why activities fail: each text once, and only when the failure lasts or keeps returning. */
export class TroubleLog {
  readonly #options: TroubleLogOptions
  readonly #said = new Map<string, number>()
  /** Failures that have not lasted long enough, by activity. */
  readonly #unsaid = new Map<string, string>()
  #timer: NodeJS.Timeout | undefined
  /** Whether the current troubles were logged. */
  isSaid = false
  /** When the last few troubles ended that were not logged. */
  #brief: readonly number[] = []

  constructor(options: TroubleLogOptions) {
    this.#options = options
  }

  /** `since`: when the activity last began to fail, on the monotonic clock. */
  failed(activity: string, text: string, since: number): void {
    const { now, sayAfterMs } = this.#options
    const recent = this.#brief.filter(atMs => now() - atMs < SAY_AGAIN_MS)
    const isNews = this.isSaid || now() - since >= sayAfterMs || recent.length >= BRIEF
    if (isNews) this.say(activity, text)
    else this.#sayLater(activity, text)
  }

  say(activity: string, text: string, level: 'warn' | 'error' = 'warn'): void {
    this.#unsaid.delete(activity)
    if (!this.#isNew(text)) return
    this.isSaid = true
    this.#options.log[level]({ activity }, sentence(activity, text))
  }

  /** `isAll`: no other activity is in trouble. */
  ended(activity: string, isAll: boolean): void {
    const wasUnsaid = this.#unsaid.delete(activity)
    if (!isAll) return
    if (wasUnsaid && !this.isSaid) this.#brief = [...this.#brief, this.#options.now()].slice(-BRIEF)
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.isSaid = false
  }

  #sayLater(activity: string, text: string): void {
    const { log, sayAfterMs } = this.#options
    this.#unsaid.set(activity, text)
    log.debug({ activity }, sentence(activity, text))
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      for (const [unsaid, why] of this.#unsaid) this.say(unsaid, why)
    }, sayAfterMs).unref()
  }

  #isNew(text: string): boolean {
    const now = this.#options.now()
    for (const [said, atMs] of this.#said) if (now - atMs >= SAY_AGAIN_MS) this.#said.delete(said)
    if (this.#said.has(text) || this.#said.size >= TEXTS) return false
    this.#said.set(text, now)
    return true
  }
}

function sentence(activity: string, text: string): string {
  return `Cannot ${activity}, trying again: ${text}`
}
