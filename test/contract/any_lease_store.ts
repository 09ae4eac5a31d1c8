import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Lease, printLease } from '../../lease/lease.ts'
import type { LeaseStore } from '../../lease/store.ts'
import { vtep } from '../support/leases.ts'
import { until } from '../support/until.ts'
import { follow, requestOf } from './lease_store.ts'

/** One store that several nodes share. Recreated for each test. */
export interface SharedBed {
  /** The store as node number n has it; closed with the bed. A node can be opened again. */
  openNode(n: number): LeaseStore
  /** As when the node is deleted, or its lease ran out. */
  removeLease(lease: Lease): Promise<void>
  /** From now on no call is answered, until `recover`. */
  fail(): Promise<void>
  recover(): Promise<void>
  close(): Promise<void>
}

/** What every store promises, however its network is cut into subnets. */
export function describeAnyLeaseStore(name: string, makeBed: () => Promise<SharedBed>): void {
  describe(`${name} as any lease store`, () => {
    let bed: SharedBed
    let stop: AbortController
    beforeEach(async () => {
      bed = await makeBed()
      stop = new AbortController()
    })
    afterEach(async () => {
      stop.abort(new Error('the test is over'))
      await bed.close()
    })

    const join = async (n: number, publicN = n) => {
      const store = bed.openNode(n)
      const request = requestOf(publicN, await store.networkConfig(stop.signal))
      return { store, lease: await store.acquire(request, stop.signal) }
    }

    test('gives nodes that start at once a subnet each, which they have again after a restart', async () => {
      const joined = await Promise.all([1, 2, 3].map(n => join(n)))
      const prefixes = joined.map(({ lease }) => lease.subnets.map(subnet => subnet.prefix).join())
      expect(new Set(prefixes).size).toBe(3)
      const again = await join(2)
      expect(again.lease).toEqual(joined[1]?.lease)
    })

    test('tells who asks what was published under its name before', async () => {
      const { store, lease } = await join(1)
      const published: (Lease | undefined)[] = []
      const request = requestOf(1, await store.networkConfig(stop.signal))
      const backendData = (previous: Lease | undefined) => {
        published.push(previous)
        return request.backendData(previous)
      }
      await bed.openNode(1).acquire({ ...request, backendData }, stop.signal)
      expect(published.at(-1)).toEqual(lease)
    })

    test('keeps until the signal aborts and then resolves, through a store that is away', async () => {
      const { store, lease } = await join(1)
      const done = new AbortController()
      let ended = false
      const keeping = store.keep(lease, done.signal).finally(() => {
        ended = true
      })
      await bed.fail()
      await until('the trouble', () => store.health().trouble)
      await bed.recover()
      await until('no trouble', () => store.health().trouble === undefined)
      expect(ended).toBe(false)
      done.abort(new Error('leaving'))
      await expect(keeping).resolves.toBeUndefined()
    })

    test('tells each time that it has seen the lease as it was published', async () => {
      const { store, lease } = await join(1)
      let kept = 0
      const done = new AbortController()
      const keeping = store.keep(lease, done.signal, () => {
        kept++
      })
      await until('the lease to be seen', () => kept > 0)
      done.abort(new Error('leaving'))
      await keeping
    })

    test('watches all leases, our own among them, as they were acquired', async () => {
      const joined = await Promise.all([1, 2, 3].map(n => join(n)))
      const tables = follow(bed.openNode(1), stop.signal)
      const table = await tables.until(it => it.size === 3)
      for (const { lease } of joined) expect(table.get(lease.node)).toEqual(lease)
      expect([...tables.changed].sort()).toEqual([...table.keys()].sort())
    })

    test('tells of a node that joins, of one that publishes other data, and of one that is gone', async () => {
      const first = await join(1)
      const tables = follow(first.store, stop.signal)
      await tables.until(table => table.size === 1)
      const { lease } = await join(2)
      await tables.until(table => table.has(lease.node))
      const other = { ...requestOf(2, await first.store.networkConfig(stop.signal)) }
      const data = [vtep('02:00:00:00:00:42')]
      await bed.openNode(2).acquire({ ...other, backendData: () => data }, stop.signal)
      await tables.until(
        table => JSON.stringify(table.get(lease.node)?.subnets[0]?.backendData) === JSON.stringify(data[0]),
      )
      await bed.removeLease(lease)
      await tables.until(table => table.size === 1)
      expect([...tables.table.values()].map(printLease)).toEqual([printLease(first.lease)])
    })

    test('removes no peer while the store is away, and continues where it left', async () => {
      const { store } = await join(1)
      const tables = follow(store, stop.signal)
      await tables.until(table => table.size === 1)
      const before = tables.takes
      await bed.fail()
      await until('the trouble', () => store.health().trouble)
      expect(tables.takes).toBe(before)
      await bed.recover()
      await join(2)
      await tables.until(table => table.size === 2)
    })

    test('ends a watch with the reason of the signal', async () => {
      const done = new AbortController()
      const changes = bed.openNode(1).watch(done.signal)[Symbol.asyncIterator]()
      expect((await changes.next()).value.table.size).toBe(0)
      const next = changes.next()
      done.abort(new Error('leaving'))
      await expect(next).rejects.toThrow('leaving')
    })

    test('knows when the store was last heard', async () => {
      const store = bed.openNode(1)
      expect(store.health()).toMatchObject({ lastContactMs: undefined, trouble: undefined })
      const askedAt = Date.now()
      const tables = follow(store, stop.signal)
      await tables.until(() => true)
      expect(store.health().lastContactMs).toBeGreaterThanOrEqual(askedAt)
      expect(store.health().trouble).toBeUndefined()
    })
  })
}
