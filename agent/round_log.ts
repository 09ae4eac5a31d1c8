import type { Log } from '../lease/log.ts'
import type { Round } from './reconcile/reconciler.ts'
import { printOperation } from './state/operation.ts'
import { entryKey } from './state/print.ts'

/** So many entries are named in a line; beyond, their number has to do. */
const NAMED = 10

/** Says what a round changed and what it could not; a round with nothing to do is silent. */
export class RoundLog {
  readonly #log: Log
  /** What the kernel refuses, by key, with the words already said. */
  readonly #refused = new Map<string, string>()

  constructor(log: Log) {
    this.#log = log
  }

  write({ fullPass, results, drift, durationMs }: Round): void {
    const applied = results.filter(({ error }) => error === undefined)
    for (const { operation } of applied) this.#log.debug({ operation: printOperation(operation) }, 'applied')
    for (const { operation, error } of results) this.#writeRefusal(operation, error)
    const repaired = applied.filter(({ operation }) => drift.has(entryKey(operation.entry)))
    const facts = { entries: applied.length, ms: Math.round(durationMs), why: fullPass }
    if (repaired.length > 0) {
      const operations = repaired.slice(0, NAMED).map(({ operation }) => printOperation(operation))
      this.#log.warn(
        { ...facts, repaired: repaired.length, operations },
        'somebody changed the kernel: repaired',
      )
    } else if (fullPass === 'start') {
      this.#log.info(facts, 'the kernel is as desired')
    }
  }

  #writeRefusal(operation: Round['results'][number]['operation'], error: Error | undefined): void {
    const key = entryKey(operation.entry)
    const said = this.#refused.get(key)
    if (error === undefined) {
      if (said !== undefined) this.#log.info({ entry: key }, 'the kernel takes it now')
      this.#refused.delete(key)
    } else if (error.message !== said) {
      this.#refused.set(key, error.message)
      this.#log.error(
        { operation: printOperation(operation), error },
        'the kernel refuses: tried again with back-off',
      )
    }
  }
}
