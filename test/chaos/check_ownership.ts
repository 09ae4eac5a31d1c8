import type { Happening, Promises, Violation } from './history.ts'
import { endOf, type Instance, lastHolder, type Put, renewedAt, startOf } from './instances.ts'
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
    ...overwritten(history, instances, agents),
    ...overlapping(history, instances, agents),
    ...goneEarly(history, instances, agents, promises),
    ...moved(history, instances),
  ]
}

/** An agent wrote a key that was another's. (A flanneld may, and does.) */
function* overwritten(
  history: readonly Happening[],
  instances: readonly Instance[],
  agents: ReadonlySet<string>,
): Iterable<Violation> {
  for (const { key, puts } of instances)
    for (const [i, put] of puts.entries()) {
      const before = puts[i - 1]
      if (before === undefined || before.holder === put.holder || !agents.has(put.holder)) continue
      if (before.ip === put.ip && rememberedNothing(history, put)) continue
      const text = `${put.holder} wrote ${key} of ${before.holder} at revision ${put.revision}`
      yield { at: put.at, rule: 'overwrote', text }
    }
}

/** Its writer had only its public IP to go by: the last that is known of it is a start without a subnet of an earlier life. */
function rememberedNothing(history: readonly Happening[], { holder, at }: Put): boolean {
  const last = history.findLast(
    event =>
      (event.what === 'started' && event.agent === holder && event.at < at) ||
      (event.what === 'acquired' && event.agent === holder && event.at < at - HEARING_MS),
  )
  return last?.what === 'started' && last.previous === undefined
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
    const maker = younger.puts[0]?.holder ?? ''
    for (const older of standing) {
      if (!keysOverlap(older.key, younger.key) || !agents.has(maker)) continue
      const until = Math.min(endOf(older), endOf(younger), history.at(-1)?.at ?? 0)
      const together = until - startOf(younger)
      if (!acquired.has(`${maker} ${younger.key} ${younger.created}`) && together < GIVING_BACK_MS) continue
      const text = `${maker} has ${younger.key}, which overlaps ${older.key} of ${lastHolder(older)}`
      yield { at: startOf(younger), rule: 'overlap', text }
    }
    standing.push(younger)
  }
}

/** A key of an agent went long before its lease was over, and only an agent can have removed it. */
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
    const holder = lastHolder(instance)
    const renewed = renewedAt(instance)
    if (deleted === undefined || renewed === undefined || !agents.has(holder)) continue
    if (deleted.at - renewed > 0.7 * ttlMs) continue
    const [from, to] = [renewed - HEARING_MS, deleted.at + HEARING_MS]
    if (blind.some(one => one.from < to && one.to > from)) continue
    if (operator.some(({ at, keys }) => keys.includes(key) && at > from && at < to)) continue
    if (instances.some(other => explainsRelease(other, instance, holder))) continue
    const text = `${key} of ${holder} went ${Math.round(deleted.at - renewed)} ms after its last write, at revision ${deleted.revision}`
    yield { at: deleted.at, rule: 'gone early', text }
  }
}

/** Its holder gave it up, having another one or an older one in its way. */
function explainsRelease(other: Instance, released: Instance, holder: string): boolean {
  const at = released.deleted?.revision ?? 0
  if (other === released || other.epoch !== released.epoch || other.created > at) return false
  if ((other.deleted?.revision ?? Number.POSITIVE_INFINITY) < at) return false
  return lastHolder(other) === holder || keysOverlap(other.key, released.key)
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

/**
 * An agent got another subnet than before although no other had taken it, and it had not forgotten it. Another address is no
 * reason, except for an agent that has forgotten all else.
 */
function* moved(history: readonly Happening[], instances: readonly Instance[]): Iterable<Violation> {
  const before = new Map<
    string,
    { key: string; at: number; forgot: { at: number; ip: string } | undefined }
  >()
  for (const event of history) {
    if (event.what === 'started' && event.previous === undefined) {
      const last = before.get(event.agent)
      if (last) last.forgot = { at: event.at, ip: event.ip }
    }
    if (event.what !== 'acquired') continue
    const last = before.get(event.agent)
    before.set(event.agent, { key: event.key, at: event.at, forgot: undefined })
    if (last === undefined || last.key === event.key) continue
    const { forgot } = last
    const taken = instances.some(
      one =>
        keysOverlap(one.key, last.key) &&
        startOf(one) < event.at + HEARING_MS &&
        endOf(one) > last.at - HEARING_MS &&
        one.puts.some(put => put.holder !== event.agent),
    )
    const stood = instances.some(
      one =>
        one.key === last.key &&
        lastHolder(one) === event.agent &&
        (forgot === undefined || one.puts.at(-1)?.ip === forgot.ip) &&
        startOf(one) < (forgot?.at ?? event.at) &&
        endOf(one) > event.at + HEARING_MS,
    )
    if (taken || (forgot !== undefined && !stood)) continue
    const text = `${event.agent} moved from ${last.key} to ${event.key}, though no other agent had ${last.key}`
    yield { at: event.at, rule: 'moved', text }
  }
}
