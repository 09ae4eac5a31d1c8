import { describe, expect, it } from 'vitest'
import type { Round } from '../../../agent/reconcile/round.ts'
import { entryKey } from '../../../agent/state/print.ts'
import { JoinLatency } from '../../../agent/status/join_latency.ts'
import { entry } from '../../support/entries.ts'

const route = entry('route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink')
const neighbor = entry('neighbor 10.244.2.0 dev flannel.1 lladdr 02:00:00:00:00:02')
const key = entryKey(route)
const nothing: Round = {
  fullPass: undefined,
  results: [],
  drift: new Set(),
  contested: new Set(),
  durationMs: 1,
}

/** A latency whose clock the test sets. */
function latency() {
  const clock = { ms: 0 }
  const of = new JoinLatency(() => clock.ms)
  const add = (ms: number, more: Partial<Round>) => {
    clock.ms = ms
    of.add({ ...nothing, ...more })
    return [of.histogram.count, of.histogram.sumSeconds]
  }
  return { of, add }
}

describe('the latency of a join', () => {
  const added = { results: [{ operation: { verb: 'add', entry: route }, error: undefined }] } as const
  const refused = { results: [{ operation: { verb: 'add', entry: route }, error: new Error('no') }] } as const

  it("runs from the store's first word to the route in the kernel", () => {
    const { of, add } = latency()
    of.storeChanged([entryKey(neighbor), key])
    of.storeChanged([key])
    expect(add(500, added)).toEqual([1, 0.5])
    expect(add(900, added)).toEqual([1, 0.5])
  })

  it('includes the time for which the kernel refused the route', () => {
    const { of, add } = latency()
    of.storeChanged([key])
    expect(add(500, refused)).toEqual([0, 0])
    expect(add(2_000, added)).toEqual([1, 2])
  })

  it('is not taken from a repair, a removal and a route that was right', () => {
    const { of, add } = latency()
    of.storeChanged([key])
    expect(add(10, { results: [{ operation: { verb: 'delete', entry: route }, error: undefined }] })).toEqual(
      [0, 0],
    )
    of.storeChanged([key])
    expect(add(500, nothing)).toEqual([0, 0])
    expect(add(800, { ...added, drift: new Set([key]) })).toEqual([0, 0])
  })
})
