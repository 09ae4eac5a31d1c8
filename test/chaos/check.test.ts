import { describe, expect, it } from 'vitest'
import { check } from './check.ts'
import { attemptsWithin } from './check_calls.ts'
import type { Happening, Promises } from './history.ts'

const promises: Promises = {
  ttlMs: 4_000,
  agreeMs: 10_000,
  graceMs: 12_000,
  firstRetryMs: 100,
  lastRetryMs: 1_000,
  subnets: 4,
}
const A = '198.51.100.1'
const B = '198.51.100.2'
const flanneld = '203.0.113.1'
const one = '10.77.1.0-24'
const two = '10.77.2.0-24'

/** `broken(history)`: each broken promise as `rule: text`, its text up to the first comma. */
function broken(history: readonly Happening[]): string[] {
  return check(history, promises).violations.map(({ rule, text }) => `${rule}: ${text.split(',')[0]}`)
}

const put = (
  at: number,
  revision: number,
  key: string,
  ip: string,
  created = revision,
  epoch = 0,
  { holder = ip, lease = `${revision}` } = {},
): Happening => ({
  what: 'put',
  at,
  epoch,
  revision,
  key,
  created,
  holder,
  ip,
  lease,
})
const gone = (at: number, revision: number, key: string): Happening => ({
  what: 'delete',
  at,
  epoch: 0,
  revision,
  key,
})
const started = (at: number, agent: string, previous?: string, ip = agent): Happening => ({
  what: 'started',
  at,
  agent,
  previous,
  ip,
})
const acquired = (at: number, agent: string, key: string, since: number): Happening => ({
  what: 'acquired',
  at,
  agent,
  key,
  since,
})
const lost = (at: number, agent: string, key: string): Happening => ({ what: 'lost', at, agent, key })
const ended = (at: number, agent: string): Happening => ({ what: 'ended', at, agent })
const sees = (at: number, agent: string, key: string, since: number, ip: string, holder = ip): Happening => ({
  what: 'table',
  at,
  agent,
  set: [{ key, since, holder, ip }],
  removed: [],
})
const drops = (at: number, agent: string, key: string): Happening => ({
  what: 'table',
  at,
  agent,
  set: [],
  removed: [key],
})
const calls = (at: number, agent: string, count: number): Happening => ({
  what: 'calls',
  at,
  agent,
  calls: count,
})
const fault = (at: number, { ofEtcd = false, away = false } = {}): Happening => ({
  what: 'fault',
  at,
  name: 'something',
  ofEtcd,
  away,
})
const healed = (at: number): Happening => ({ what: 'healed', at })
const reset = (at: number, epoch: number): Happening => ({ what: 'reset', at, epoch })

/** A holds the first subnet and knows it. */
const aHolds: readonly Happening[] = [
  started(0, A),
  put(100, 2, one, A),
  acquired(110, A, one, 2),
  sees(120, A, one, 2, A),
]

describe('a history in which all promises are kept', () => {
  it('is one in which nothing goes wrong', () => {
    expect(broken([...aHolds, put(2_000, 3, one, A, 2), put(4_000, 4, one, A, 2)])).toEqual([])
  })

  it('may hold a lease that runs out, is taken by another, and a node that moves because of it', () => {
    const history = [
      ...aHolds,
      fault(200),
      gone(4_200, 3, one),
      started(4_250, B),
      put(4_300, 4, one, B),
      acquired(4_310, B, one, 4),
      healed(5_000),
      sees(5_010, B, one, 4, B),
      drops(5_015, A, one),
      sees(5_020, A, one, 4, B),
      lost(5_030, A, one),
      put(5_100, 5, two, A),
      acquired(5_110, A, two, 5),
      sees(5_120, A, two, 5, A),
      sees(5_120, B, two, 5, A),
      calls(30_000, A, 50),
    ]
    expect(broken(history)).toEqual([])
  })

  it('may hold a key that an operator removed and its owner claimed again', () => {
    const history: Happening[] = [
      ...aHolds,
      { what: 'operator', at: 500, keys: [one] },
      gone(510, 3, one),
      drops(520, A, one),
      put(700, 4, one, A),
      sees(710, A, one, 4, A),
    ]
    expect(broken(history)).toEqual([])
  })

  it('may hold a node that forgot its subnet, whose key has run out, and got another', () => {
    const history = [
      ...aHolds,
      ended(200, A),
      gone(5_000, 3, one),
      started(5_500, A),
      put(5_600, 4, two, A),
      acquired(5_610, A, two, 4),
      sees(5_620, A, two, 4, A),
    ]
    expect(broken(history)).toEqual([])
  })

  it('may hold a flanneld that overwrites a key, as flannelds do', () => {
    const history = [
      ...aHolds,
      put(500, 3, one, flanneld, 2),
      sees(510, A, one, 2, flanneld),
      lost(520, A, one),
      calls(30_000, A, 90),
    ]
    expect(broken(history)).toEqual([])
  })

  it('may hold peers that outlive the loss of all data for their grace', () => {
    const history = [
      ...aHolds,
      started(0, B),
      sees(130, B, one, 2, A),
      ended(200, A),
      fault(1_000, { ofEtcd: true }),
      reset(1_100, 1),
      healed(1_200),
      calls(12_000, B, 5),
      drops(13_200, B, one),
    ]
    expect(broken(history).filter(text => !text.startsWith('starved'))).toEqual([])
  })

  it('may hold addresses that move: a node whose subnet stays with another public IP, and one that has its former address', () => {
    const history = [
      ...aHolds,
      ended(1_000, B),
      put(2_000, 3, one, B, 2, 0, { holder: A }),
      sees(2_010, A, one, 2, B, A),
      started(3_000, B, two, A),
      put(3_100, 4, two, A, 4, 0, { holder: B }),
      acquired(3_110, B, two, 4),
      sees(3_120, A, two, 4, A, B),
      sees(3_120, B, one, 2, B, A),
      sees(3_130, B, two, 4, A, B),
      calls(60_000, A, 50),
    ]
    expect(broken(history)).toEqual([])
  })

  it('may hold a key of a node that is off, touched by another, until its etcd lease is over', () => {
    const touched = put(3_500, 3, one, A, 2, 0, { lease: '2' })
    expect(broken([...aHolds, touched, ended(3_600, A), gone(4_200, 4, one)])).toEqual([])
  })

  it('may hold a node that remembers nothing and takes up the key that bears its address, or leaves its own', () => {
    const takesUp = put(900, 3, one, A, 2, 0, { holder: B })
    expect(broken([...aHolds, ended(300, A), started(800, B, undefined, A), takesUp])).toEqual([])
    const leaves = [ended(300, A), started(800, A, undefined, B), put(900, 3, two, B, 3, 0, { holder: A })]
    expect(broken([...aHolds, ...leaves, acquired(910, A, two, 3), gone(4_200, 4, one)])).toEqual([])
  })

  it('may hold a wrong table for as long as the fault lasts', () => {
    const history = [...aHolds, fault(200), put(300, 3, two, B), calls(60_000, A, 50), healed(60_100)]
    expect(broken([...history, sees(60_500, A, two, 3, B)])).toEqual([])
  })
})

describe('a history is judged to break a promise', () => {
  it('where an agent writes the key of another', () => {
    const history = [...aHolds, started(200, B), put(300, 3, one, B, 2)]
    expect(broken(history)).toContain(`overwrote: ${B} wrote ${one} of ${A} at revision 3`)
  })

  it('where an agent takes a subnet that overlaps one that stands', () => {
    const both = '10.77.1.0-24&fd00:77:0:1::-64'
    const other = '10.77.2.0-24&fd00:77:0:1::-64'
    const history = [
      started(0, A),
      started(0, B),
      put(100, 2, both, A),
      put(110, 3, other, B),
      acquired(120, B, other, 3),
    ]
    expect(broken(history)).toEqual([`overlap: ${B} has ${other}`])
    const givenBack = [...history.slice(0, 4), gone(150, 4, other)]
    expect(broken(givenBack)).toEqual([])
  })

  it('where a key goes long before its lease is over and it was not removed', () => {
    const history = [...aHolds, put(5_000, 3, one, A, 2), gone(6_000, 4, one)]
    expect(broken(history)).toContain(`gone early: ${one} of ${A} went 1000 ms after its last write`)
  })

  it('where a node gets another subnet though its own was not taken', () => {
    const history = [
      ...aHolds,
      ended(200, A),
      gone(5_000, 3, one),
      started(5_500, A, one),
      put(5_600, 4, two, A),
      acquired(5_610, A, two, 4),
    ]
    expect(broken(history)).toContain(`moved: ${A} moved from ${one} to ${two}`)
  })

  it('where a node gets another subnet because its address changed', () => {
    const history = [...aHolds, put(500, 3, two, B, 3, 0, { holder: A }), acquired(510, A, two, 3)]
    expect(broken(history)).toContain(`moved: ${A} moved from ${one} to ${two}`)
  })

  it('where a node that remembers its subnet takes the key that bears its new address', () => {
    const history = [...aHolds, started(800, B, two, A), put(900, 3, one, A, 2, 0, { holder: B })]
    expect(broken(history)).toContain(`overwrote: ${B} wrote ${one} of ${A} at revision 3`)
  })

  it('where peers do not follow the new address of a node', () => {
    const history = [...aHolds, put(500, 3, one, B, 2, 0, { holder: A }), calls(11_000, A, 9)]
    expect(broken(history)).toEqual([`table: ${A} has ${one} of ${A} at ${A} since 2`])
  })

  it('where a node that forgot its subnet gets another though its key stood in etcd', () => {
    const history = [
      ...aHolds,
      ended(200, A),
      started(500, A),
      put(600, 4, two, A),
      acquired(610, A, two, 4),
      gone(4_500, 5, one),
    ]
    expect(broken(history)).toContain(`moved: ${A} moved from ${one} to ${two}`)
  })

  it('where a peer leaves a table while its key stands in etcd', () => {
    const history = [
      ...aHolds,
      started(200, B),
      sees(300, B, one, 2, A),
      drops(400, B, one),
      sees(500, B, one, 2, A),
    ]
    expect(broken(history)).toEqual([`vanished: ${B} dropped ${one} of ${A}`])
  })

  it('where peers leave a table because etcd has lost its data', () => {
    const history = [
      ...aHolds,
      started(200, B),
      sees(300, B, one, 2, A),
      ended(350, A),
      reset(400, 1),
      drops(500, B, one),
    ]
    expect(broken(history)).toEqual([`vanished: ${B} dropped ${one} of ${A}`])
  })

  it('where a table is still wrong 10 s after all was healed', () => {
    const history = [...aHolds, fault(200), put(300, 3, two, B), healed(400), calls(10_300, A, 9)]
    expect(broken(history)).toEqual([])
    expect(broken([...history, calls(10_500, A, 9)])).toEqual([`table: ${A} lacks ${two} of ${B}`])
  })

  it('where a table is wrong for 10 s after the machine was too slow', () => {
    const slow: Happening = { what: 'slow', at: 500, ms: 4_000 }
    const history = [...aHolds, fault(200), put(300, 3, two, B), healed(400), slow, calls(10_500, A, 9)]
    expect(broken(history)).toEqual([])
    expect(broken([...history, calls(10_501, A, 9)])).toEqual([`table: ${A} lacks ${two} of ${B}`])
  })

  it('where an agent still believes in a subnet that another holds', () => {
    const history = [
      ...aHolds,
      put(500, 3, one, flanneld, 2),
      sees(510, A, one, 2, flanneld),
      calls(11_000, A, 9),
    ]
    expect(broken(history)).toEqual([`belief: ${A} believes in ${one}`])
  })

  it('where an agent finds no subnet though there are free ones', () => {
    const history = [...aHolds, started(200, B), sees(300, B, one, 2, A), calls(15_000, B, 9)]
    expect(broken(history)).toEqual([`starved: ${B} has no subnet`])
  })

  it('where a node stands under two keys for long', () => {
    const history = [...aHolds, put(200, 3, two, A), sees(210, A, two, 3, A), calls(19_000, A, 9)]
    expect(broken(history)).toEqual([`two keys: ${A} stands under ${one} and ${two}`])
  })

  it('where calls are begun faster than the back-off lets them', () => {
    const away = [...aHolds, fault(1_000, { away: true }), calls(1_500, A, 10)]
    const allowed = 3 * attemptsWithin(4_000, promises) + 6
    expect(broken([...away, calls(5_500, A, 10 + allowed)])).toEqual([])
    expect(broken([...away, calls(5_500, A, 11 + allowed)])).toEqual([
      `hot: ${A} began ${allowed + 1} calls in 4000 ms with etcd away; ${allowed} are its back-off's`,
    ])
  })

  it('where calls are begun without end although etcd answers', () => {
    const busy = (most: number) => [...aHolds, calls(1_000, A, 0), calls(3_000, A, 40), calls(5_900, A, most)]
    expect(broken(busy(80))).toEqual([])
    expect(broken(busy(81))).toEqual([`hot: ${A} began 81 calls within 5 s`])
  })

  it('where an agent ends by itself', () => {
    const history: Happening[] = [...aHolds, { what: 'failed', at: 500, agent: A, error: 'TypeError: x' }]
    expect(broken(history)).toEqual([`failed: ${A} ended by itself: TypeError: x`])
  })
})

it('the measure of a healing is the longest that each agent was wrong', () => {
  const history = [
    ...aHolds,
    fault(200),
    put(300, 3, two, B),
    healed(1_000),
    sees(1_700, A, two, 3, B),
    gone(2_000, 4, two),
    drops(2_100, A, two),
  ]
  expect(check(history, promises).agreements).toEqual([{ healedAt: 1_000, agent: A, ms: 700 }])
})
