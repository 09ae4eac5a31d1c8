import { checkBusy, checkCalls } from './check_calls.ts'
import { checkOwnership } from './check_ownership.ts'
import { type Agreement, checkTables, checkVanished } from './check_tables.ts'
import type { Happening, Promises, Violation } from './history.ts'
import { instancesOf } from './instances.ts'

export interface Verdict {
  /** In order of time. */
  readonly violations: readonly Violation[]
  readonly agreements: readonly Agreement[]
}

/** Judges what was recorded. Pure: the same history has the same verdict. */
export function check(recorded: readonly Happening[], promises: Promises): Verdict {
  const history = recorded.toSorted((a, b) => a.at - b.at)
  const instances = instancesOf(history)
  const tables = checkTables(history, promises)
  const violations = [
    ...checkOwnership(history, instances, promises),
    ...tables.violations,
    ...checkVanished(history, instances, promises),
    ...checkCalls(history, promises),
    ...checkBusy(history),
    ...failures(history),
  ]
  return { violations: violations.sort((a, b) => a.at - b.at), agreements: tables.agreements }
}

function* failures(history: readonly Happening[]): Iterable<Violation> {
  for (const event of history)
    if (event.what === 'failed')
      yield { at: event.at, rule: 'failed', text: `${event.agent} ended by itself: ${event.error}` }
}
