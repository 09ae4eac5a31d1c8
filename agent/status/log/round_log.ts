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
  readonly #refused = new Map<string, string>()

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
    const fresh = results.filter(
      ({ operation, error }) =>
        error !== undefined && this.#refused.get(entryKey(operation.entry)) !== error.message,
    )
    for (const { operation, error } of fresh)
      this.#refused.set(entryKey(operation.entry), error?.message ?? '')
    for (const { operation, error } of fresh.slice(0, NAMED))
      this.#log.error(
        { operation: printOperation(operation), error },
        'the kernel refuses: tried again with back-off',
      )
    if (fresh.length > NAMED)
      this.#log.error({ entries: fresh.length - NAMED }, 'the kernel refuses more: tried again with back-off')

    const over = [...this.#refused.keys()].filter(key => !failing.has(key))
    for (const key of over) this.#refused.delete(key)
    for (const key of over.slice(0, NAMED))
      this.#log.info({ entry: key }, 'the kernel no longer refuses this entry')
    if (over.length > NAMED)
      this.#log.info({ entries: over.length - NAMED }, 'the kernel no longer refuses other entries')
  }
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
