import { describe, expect, it } from 'vitest'
import { Conflicts } from '../../../agent/membership/conflicts.ts'
import type { LeaseProblem } from '../../../lease/lease.ts'
import type { NodeReporter } from '../../../lease/store.ts'
import { until } from '../../support/until.ts'

describe('peers that claim what this node has', () => {
  it('are told of once for each reason, and again when they come back', async () => {
    const told: LeaseProblem[] = []
    const reporter: NodeReporter = {
      publicIpHints: async () => [],
      announceReady: async () => {},
      report: async problem => void told.push(problem),
    }
    const conflicts = new Conflicts(reporter)
    const stop = new AbortController()
    const telling = conflicts.report(() => 'node-a', stop.signal)

    conflicts.note('node-b', 'subnet 10.244.1.0/24 overlaps our own')
    conflicts.note('node-c', undefined)
    await until('the first to be told', () => told.length === 1)
    conflicts.note('node-b', 'subnet 10.244.1.0/24 overlaps our own')
    conflicts.note('node-b', undefined)
    conflicts.note('node-b', 'public IP 192.168.0.1 is our own')
    await until('the second to be told', () => told.length === 2)

    stop.abort()
    await expect(telling).rejects.toBe(stop.signal.reason)
    expect(told).toEqual([
      { key: 'node-a', reason: 'subnet 10.244.1.0/24 overlaps our own' },
      { key: 'node-a', reason: 'public IP 192.168.0.1 is our own' },
    ])
  })
})
