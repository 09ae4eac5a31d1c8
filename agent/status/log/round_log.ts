import type { Log } from '../../../lease/common/log.ts'
import type { Round } from '../../reconcile/round.ts'
import { type Operation, printOperation, type Result } from '../../state/operation.ts'
import { entryKey, printEntry } from '../../state/print.ts'

/** Entries named at once; above this, only their number is logged. */
const NAMED = 10

/** Logs a round's changes and failures; a round with nothing to do is silent. */
export class RoundLog {
  readonly #log: Log
  /** Refused entries by key, with the error already logged. */
  readonly #refused = new Map<string, Error>()

  constructor(log: Log) {
    this.#log = log
  }

  /** `failing` are the keys that the kernel refuses after this round. */
  write(
    { fullPass, results, drift, contested, durationMs }: Round,
    failing: ReadonlyMap<string, unknown>,
  ): void {
    const applied = results.filter(({ error }) => error === undefined)
    for (const { operation } of applied) this.#log.debug(printedLater(operation), 'applied')
    this.#writeRefusals(results, failing)
    // A contest has a line of its own: do not repeat it for each repair.
    const isNews = (key: string) => drift.has(key) && !contested.has(key)
    const repaired = applied.filter(({ operation }) => isNews(entryKey(operation.entry)))
    const facts = { entries: applied.length, ms: Math.round(durationMs), why: fullPass }
    if (repaired.length > 0) {
      const operations = repaired.slice(0, NAMED).map(({ operation }) => printRepair(operation))
      this.#log.warn(
        { ...facts, repaired: repaired.length, operations },
        'another program changed the kernel: repaired',
      )
    } else if (fullPass === 'start' && failing.size === 0) {
      this.#log.info(facts, 'the kernel is as desired')
    }
  }

  #writeRefusals(results: readonly Result[], failing: ReadonlyMap<string, unknown>): void {
    const fresh: Refusal[] = []
    for (const { operation, error } of results) {
      const key = entryKey(operation.entry)
      if (error === undefined || this.#refused.get(key)?.message === error.message) continue
      this.#refused.set(key, error)
      fresh.push({ text: printOperation(operation), error })
    }
    const over: Refusal[] = []
    for (const [key, error] of this.#refused) {
      if (failing.has(key)) continue
      this.#refused.delete(key)
      over.push({ text: key, error })
    }
    this.#writeCauses(fresh, ({ text, error }, more) =>
      this.#log.error({ operation: text, error, ...more }, 'the kernel refuses: tried again with back-off'),
    )
    this.#writeCauses(over, ({ text }, more) =>
      this.#log.info({ entry: text, ...more }, 'the kernel no longer refuses this entry'),
    )
  }

  /** One line for each cause: what keeps one entry off a device keeps off all of them. */
  #writeCauses(refusals: readonly Refusal[], say: (first: Refusal, more: object) => void): void {
    const byCause = new Map<string, Refusal[]>()
    for (const refusal of refusals) {
      const cause = causeOf(refusal.error)
      const alike = byCause.get(cause)
      if (alike === undefined) byCause.set(cause, [refusal])
      else alike.push(refusal)
    }
    const causes = [...byCause.values()]
    for (const [first, ...alike] of causes.slice(0, NAMED)) {
      if (first === undefined) continue
      const named = alike.slice(0, NAMED).map(({ text }) => text)
      say(first, alike.length === 0 ? {} : { entries: alike.length + 1, alike: named })
    }
    if (causes.length > NAMED) this.#log.info({ causes: causes.length - NAMED }, 'there are more such causes')
  }
}

/** A refused entry, in words. */
interface Refusal {
  readonly text: string
  readonly error: Error
}

/** CAUSE of `Cannot add route 10.1.5.0/24 ...: CAUSE`, without the kernel's own text, which may differ. */
function causeOf({ message }: Error): string {
  const start = message.indexOf(': ')
  return message.slice(start + 1).split('; the kernel says ', 1)[0] ?? message
}

/** Printed only when the line is written: at start there are thousands. */
function printedLater(operation: Operation): object {
  return {
    get operation() {
      return printOperation(operation)
    },
  }
}

/** With the entry found instead, which hints at the program that changed it. */
function printRepair(operation: Operation): string {
  const text = printOperation(operation)
  return operation.verb === 'replace' ? `${text} (was: ${printEntry(operation.was)})` : text
}
