import { describe, expect, it } from 'vitest'
import { Contests } from '../../../agent/reconcile/contests.ts'
import { entry } from '../../support/entries.ts'

const route = (n: number) => entry(`route 10.1.${n}.0/24 via 10.1.${n}.0 dev flannel.1 onlink`)
const neighbor = (n: number) => entry(`neighbor 10.1.${n}.0 dev flannel.1 lladdr 02:00:00:00:00:02`)
const device = entry(
  'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning',
)

describe('contests', () => {
  const fight = (contests: Contests, times: number, everyMs = 100, entries = [route(2)]) => {
    for (let i = 0; i < times; i++) contests.repaired(entries, i * everyMs)
    return (times - 1) * everyMs
  }
  const named = (contests: Contests, nowMs: number) =>
    Array.from(contests.named(nowMs).values(), ({ entries, count }) => `${entries}: ${count}`)

  it('are named after five repairs in a row', () => {
    const contests = new Contests()
    expect(named(contests, fight(contests, 5))).toEqual([])
    contests.repaired([route(2)], 500)
    expect(named(contests, 500)).toEqual(['route 10.1.2.0/24 metric 0: 6'])
  })

  it('have one count for each cause, however many entries are undone at once', () => {
    const contests = new Contests()
    const all = Array.from({ length: 200 }, (_, n) => [route(n), neighbor(n)]).flat()
    expect(named(contests, fight(contests, 7, 100, all))).toEqual([
      '200 route entries on flannel.1: 7',
      '200 neighbor entries on flannel.1: 7',
    ])
  })

  it('let the first 25 repairs go at once; later ones wait, never more than 1 s', () => {
    const contests = new Contests()
    const waits = Array.from({ length: 31 }, (_, i) => {
      contests.repaired([device], i * 300)
      return contests.waitMs(device, i * 300)
    })
    expect(waits.slice(24)).toEqual([0, 100, 200, 400, 800, 1_000, 1_000])
  })

  it('hold up only what is contested', () => {
    const contests = new Contests()
    const nowMs = fight(contests, 30)
    expect([route(2), route(3), neighbor(2)].map(one => contests.waitMs(one, nowMs))).toEqual([1_000, 0, 0])
  })

  it('count no repairs that are far apart, and end when nothing was undone for 10 s', () => {
    const contests = new Contests()
    expect(named(contests, fight(contests, 60, 60_000))).toEqual([])
    const close = new Contests()
    const nowMs = fight(close, 7)
    expect([named(close, nowMs + 10_000).length, named(close, nowMs + 10_001).length]).toEqual([1, 0])
  })

  it('are forgotten where the device under the entries was mended, but for its own', () => {
    const contests = new Contests()
    const nowMs = fight(contests, 30, 100, [route(2), device])
    contests.forgetOn('flannel.1')
    expect([route(2), device].map(one => contests.waitMs(one, nowMs))).toEqual([0, 1_000])
  })
})
