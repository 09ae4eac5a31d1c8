import type { Happening, Promises, Violation } from './history.ts'
import { endOf, type Instance, lastHolder, startOf } from './instances.ts'
import { keysOverlap } from './state.ts'

/** The observer may hear of a thing somewhat after the agent that did it. */
const HEARING_MS = 2_000
/** How long a key may stand that its maker gives back at once, an older one overlapping it. */
const GIVING_BACK_MS = 3_000

/** A subnet has one owner, who keeps it: judged by etcd's own order of things. */
export function checkOwnership(
  history: readonly Happening[],
  instances: readonly Instance[],
  promises: Promises,
): Violation[] {
  const agents = new Set<string>()
  for (const event of history) if (event.what === 'started') agents.add(event.agent)
  return [
    ...overwritten(instances, agents),
    ...overlapping(history, instances, agents),
    ...goneEarly(history, instances, agents, promises),
    ...moved(history, instances),
  ]
}

/** An agent wrote a key that was another's. (A flanneld may, and does.) */
function* overwritten(instances: readonly Instance[], agents: ReadonlySet<string>): Iterable<Violation> {
  for (const { key, puts } of instances)
    for (const [i, put] of puts.entries()) {
      const before = puts[i - 1]
      if (before === undefined || before.ip === put.ip || !agents.has(put.ip)) continue
      const text = `${put.ip} wrote ${key} of ${before.ip} at revision ${put.revision}`
      yield { at: put.at, rule: 'overwrote', text }
    }
}

/**
 * Two keys that overlap stood at once and the younger one's maker took it for its own. Keys of two families can be created
 * both; the younger is then given back.
 */
function* overlapping(
  history: readonly Happening[],
  instances: readonly Instance[],
  agents: ReadonlySet<string>,
): Iterable<Violation> {
  const acquired = new Set<string>()
  for (const event of history)
    if (event.what === 'acquired') acquired.add(`${event.agent} ${event.key} ${event.since}`)
  let standing: Instance[] = []
  for (const younger of instances) {
    standing = standing.filter(
      one =>
        one.epoch === younger.epoch && (one.deleted?.revision ?? Number.POSITIVE_INFINITY) > younger.created,
    )
    const ip = younger.puts[0]?.ip ?? ''
    for (const older of standing) {
      if (!keysOverlap(older.key, younger.key) || !agents.has(ip)) continue
      const until = Math.min(endOf(older), endOf(younger), history.at(-1)?.at ?? 0)
      const together = until - startOf(younger)
      if (!acquired.has(`${ip} ${younger.key} ${younger.created}`) && together < GIVING_BACK_MS) continue
      const text = `${ip} has ${younger.key}, which overlaps ${older.key} of ${lastHolder(older)}`
      yield { at: startOf(younger), rule: 'overlap', text }
    }
    standing.push(younger)
  }
}

/** A key of an agent went long before its lease was over, and nobody removed it but, it seems, an agent. */
function* goneEarly(
  history: readonly Happening[],
  instances: readonly Instance[],
  agents: ReadonlySet<string>,
  { ttlMs }: Promises,
): Iterable<Violation> {
  const operator = history.filter(event => event.what === 'operator')
  const blind = faultsOfEtcd(history)
  for (const instance of instances) {
    const { key, deleted } = instance
    const put = instance.puts.at(-1)
    if (deleted === undefined || put === undefined || !agents.has(put.ip)) continue
    if (deleted.at - put.at > 0.7 * ttlMs) continue
    const [from, to] = [put.at - HEARING_MS, deleted.at + HEARING_MS]
    if (blind.some(one => one.from < to && one.to > from)) continue
    if (operator.some(({ at, keys }) => keys.includes(key) && at > from && at < to)) continue
    if (instances.some(other => explainsRelease(other, instance, put.ip))) continue
    const text = `${key} of ${put.ip} went ${Math.round(deleted.at - put.at)} ms after its last write, at revision ${deleted.revision}`
    yield { at: deleted.at, rule: 'gone early', text }
  }
}

/** Its holder gave it up, having another one or an older one in its way. */
function explainsRelease(other: Instance, released: Instance, ip: string): boolean {
  const at = released.deleted?.revision ?? 0
  if (other === released || other.epoch !== released.epoch || other.created > at) return false
  if ((other.deleted?.revision ?? Number.POSITIVE_INFINITY) < at) return false
  return lastHolder(other) === ip || keysOverlap(other.key, released.key)
}

function faultsOfEtcd(history: readonly Happening[]): readonly { from: number; to: number }[] {
  const faults: { from: number; to: number }[] = []
  let from: number | undefined
  for (const event of history) {
    if (event.what === 'fault' && event.ofEtcd) from ??= event.at
    if (event.what !== 'healed' || from === undefined) continue
    faults.push({ from, to: event.at + 2 * HEARING_MS })
    from = undefined
  }
  if (from !== undefined) faults.push({ from, to: Number.POSITIVE_INFINITY })
  return faults
}

/** An agent got another subnet than before although nobody had taken it, and it had not forgotten it. */
function* moved(history: readonly Happening[], instances: readonly Instance[]): Iterable<Violation> {
  const before = new Map<string, { key: string; at: number; forgotAt: number | undefined }>()
  for (const event of history) {
    if (event.what === 'started' && event.previous === undefined) {
      const last = before.get(event.agent)
      if (last) last.forgotAt = event.at
    }
    if (event.what !== 'acquired') continue
    const last = before.get(event.agent)
    before.set(event.agent, { key: event.key, at: event.at, forgotAt: undefined })
    if (last === undefined || last.key === event.key) continue
    const { forgotAt } = last
    const taken = instances.some(
      one =>
        keysOverlap(one.key, last.key) &&
        startOf(one) < event.at + HEARING_MS &&
        endOf(one) > last.at - HEARING_MS &&
        one.puts.some(put => put.ip !== event.agent),
    )
    const stood = instances.some(
      one =>
        one.key === last.key &&
        lastHolder(one) === event.agent &&
        startOf(one) < (forgotAt ?? event.at) &&
        endOf(one) > event.at + HEARING_MS,
    )
    if (taken || (forgotAt !== undefined && !stood)) continue
    const text = `${event.agent} moved from ${last.key} to ${event.key}, though nobody else had ${last.key}`
    yield { at: event.at, rule: 'moved', text }
  }
}
