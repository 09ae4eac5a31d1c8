import { describe, expect, it } from 'vitest'
import type { Round } from '../../../agent/reconcile/round.ts'
import type { Entry } from '../../../agent/state/entry.ts'
import { entryKey } from '../../../agent/state/print.ts'
import { RoundTotals, reasonToRestart, storeOutage } from '../../../agent/status/status.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { parseMac } from '../../../lease/net/mac.ts'
import { status } from '../../support/status.ts'

const mac = parseMac('02:00:00:00:00:02')
const neighbor: Entry = { kind: 'neighbor', dev: 'flannel.1', address: parseIp('10.244.2.0'), mac }
const fdb: Entry = { kind: 'fdb', dev: 'flannel.1', mac, dst: parseIp('192.168.0.2') }

function round(more: Partial<Round>): Round {
  return { fullPass: undefined, results: [], drift: new Set(), contested: new Set(), durationMs: 1, ...more }
}

describe('the totals', () => {
  it('count drift that was repaired, by kind, and neither what was new nor what was refused', () => {
    const totals = new RoundTotals()
    const add = (entry: Entry, error?: Error) => ({ operation: { verb: 'add' as const, entry }, error })
    totals.add(round({ results: [add(neighbor), add(fdb)], drift: new Set([entryKey(neighbor)]) }))
    totals.add(round({ results: [add(fdb, new Error('no'))], drift: new Set([entryKey(fdb)]) }))
    expect(totals.driftRepaired).toEqual({
      link: 0,
      address: 0,
      fdb: 0,
      neighbor: 1,
      route: 0,
    })
    expect(totals.operations).toEqual({ applied: 2, refused: 1 })
  })

  it('know how long ago the last full pass ended', () => {
    let nowMs = 1000
    const totals = new RoundTotals(() => nowMs)
    totals.add(round({}))
    expect(totals.sinceFullPassMs).toBeUndefined()
    totals.add(round({ fullPass: 'start', durationMs: 20 }))
    nowMs = 4000
    expect(totals).toMatchObject({ sinceFullPassMs: 3000, fullPasses: 1, fullPassDurationMs: 20 })
  })
})

describe('a lifeless agent', () => {
  const since = (ms: number) => {
    let nowMs = 0
    const rounds = new RoundTotals(() => nowMs)
    rounds.add(round({ fullPass: 'start' }))
    nowMs = ms
    return reasonToRestart(status({ rounds, resyncMs: 60_000 }))
  }

  it('is one whose full passes do not come any more', () => {
    expect(since(150_000)).toBeUndefined()
    expect(since(150_001)).toBe(
      'the last full pass ended 150 s ago, and one is due every 60 s: a round hangs',
    )
  })

  it('is one whose round does not end, which shows before a full pass is due', () => {
    expect(reasonToRestart(status({ roundMs: 60_000 }))).toBeUndefined()
    expect(reasonToRestart(status({ roundMs: 61_000 }))).toBe(
      'the round that programs the kernel has not ended for 61 s: it hangs',
    )
  })

  it('is not one that waits for its store', () => {
    expect(reasonToRestart(status({ notReady: ['waiting for the network config'] }))).toBeUndefined()
  })
})

describe('a store that is away', () => {
  const trouble = 'http://192.168.0.1:2379: connection refused'

  it('is said where it has not answered yet, and after a while where it has', () => {
    expect(storeOutage({ lastContactMs: undefined, trouble, troubleMs: 1 })).toBe(
      `the store has not answered yet: ${trouble}`,
    )
    expect(storeOutage({ lastContactMs: 0, trouble, troubleMs: 20_000 })).toBe(
      `the store has not served this node for 20 s: ${trouble}`,
    )
  })

  it('is a hiccup for some seconds, and nothing while the store answers', () => {
    expect(storeOutage({ lastContactMs: 0, trouble, troubleMs: 14_000 })).toBeUndefined()
    expect(storeOutage({ lastContactMs: 0, trouble: undefined, troubleMs: 0 })).toBeUndefined()
  })
})
