import type { Happening, Promises, Violation } from './history.ts'

/** Claiming or keeping, watching the own key, watching the peers. */
const ACTIVITIES = 3
/** What was begun in the moment when etcd went away, and a revocation that is tried once. */
const UNDER_WAY = 6
/** Fewer ms than this say nothing. */
const SHORTEST_MS = 1_000

/** What no agent needs in WITHIN_MS, in any situation: renewals, looks, searches and retries together take some 35. */
const MOST = 80
const WITHIN_MS = 5_000

/** Nothing turns round and round, not even while etcd answers (a watch behind a compaction, two that put one key right). */
export function* checkBusy(history: readonly Happening[]): Iterable<Violation> {
  const recent = new Map<string, { readonly at: number; readonly calls: number }[]>()
  for (const event of history) {
    if (event.what === 'started' || event.what === 'ended') recent.delete(event.agent)
    if (event.what !== 'calls') continue
    const counts = (recent.get(event.agent) ?? []).filter(count => event.at - count.at <= WITHIN_MS)
    const begun = event.calls - (counts[0]?.calls ?? event.calls)
    recent.set(event.agent, begun > MOST ? [] : [...counts, event])
    if (begun <= MOST) continue
    const text = `${event.agent} began ${begun} calls within ${WITHIN_MS / 1000} s`
    yield { at: event.at, rule: 'hot', text }
  }
}

/** While nothing is answered, calls begin no faster than the back-off lets them. */
export function* checkCalls(history: readonly Happening[], promises: Promises): Iterable<Violation> {
  const first = new Map<string, { at: number; calls: number }>()
  let awaySince: number | undefined
  for (const event of history) {
    if (event.what === 'fault' && event.away) {
      awaySince ??= event.at
      first.clear()
    } else if (event.what === 'healed') awaySince = undefined
    else if (event.what === 'started' || event.what === 'ended') first.delete(event.agent)
    else if (event.what === 'calls') {
      if (awaySince === undefined) continue
      const start = first.get(event.agent)
      if (start === undefined) {
        first.set(event.agent, event)
        continue
      }
      const ms = event.at - start.at
      const calls = event.calls - start.calls
      const allowed = ACTIVITIES * attemptsWithin(ms, promises) + UNDER_WAY
      if (ms < SHORTEST_MS || calls <= allowed) continue
      first.delete(event.agent)
      const text = `${event.agent} began ${calls} calls in ${Math.round(ms)} ms with etcd away; ${allowed} are its back-off's`
      yield { at: event.at, rule: 'hot', text }
    }
  }
}

/** How often at most one activity tries in that time: waits double up to the last, and chance may halve each. */
export function attemptsWithin(
  ms: number,
  { firstRetryMs, lastRetryMs }: Pick<Promises, 'firstRetryMs' | 'lastRetryMs'>,
): number {
  let attempts = 1
  for (let at = 0, wait = firstRetryMs; at <= ms; attempts++) {
    at += wait / 2
    wait = Math.min(2 * wait, lastRetryMs)
  }
  return attempts
}
