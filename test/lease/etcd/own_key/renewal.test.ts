import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { EtcdTuning } from '../../../../lease/etcd/client/tuning.ts'
import { requestOf } from '../../../contract/lease_store.ts'
import { type EtcdServer, startEtcd } from '../../../support/etcd.ts'
import { EtcdBed } from '../../../support/etcd_bed.ts'
import { until } from '../../../support/until.ts'

let server: EtcdServer
let bed: EtcdBed
let stop: AbortController
beforeAll(async () => {
  server = await startEtcd()
})
afterAll(() => server.remove())
beforeEach(async () => {
  bed = new EtcdBed(server)
  stop = new AbortController()
  await bed.writeConfig('{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}')
})
afterEach(async () => {
  stop.abort()
  await bed.close()
})

async function hold(marginMs: number, tuning: Partial<EtcdTuning>) {
  const store = bed.openNode({ renewMarginMs: marginMs }, tuning)
  const network = await store.networkConfig(stop.signal)
  const lease = await store.acquire(requestOf(7, network), stop.signal)
  const state: { error: unknown } = { error: undefined }
  store.keep(lease, stop.signal).catch(error => {
    state.error = error
  })
  return { store, lease, state, key: bed.key(lease.node) }
}

async function standing(key: string) {
  const text = await server.ctl('get', '-w', 'json', key)
  const [, createRevision] = /"create_revision":(\d+)/.exec(text) ?? []
  const [, modRevision] = /"mod_revision":(\d+)/.exec(text) ?? []
  const [, leaseId] = /"lease":(\d+)/.exec(text) ?? []
  return { createRevision, modRevision, leaseId }
}

async function leases(): Promise<number> {
  return (await server.ctl('lease', 'list')).trim().split('\n').length - 1
}

describe('renewing', () => {
  test('puts the key under a new etcd lease in time, keeps its age, and leaves no old lease behind', async () => {
    const before = await leases()
    const { key, state } = await hold(16_000, { ttlSeconds: 24 })
    const first = await standing(key)
    await until(
      'two renewals',
      async () => Number((await standing(key)).modRevision) >= 2 + Number(first.modRevision),
      { withinMs: 90_000 },
    )
    const now = await standing(key)
    expect(now.createRevision).toBe(first.createRevision)
    expect(now.leaseId).not.toBe(first.leaseId)
    expect(state.error).toBeUndefined()
    await until('the old leases to be gone', async () => (await leases()) === before + 1)
  })

  test('after another program has deleted or overwritten the key leaves no old lease behind', async () => {
    const before = await leases()
    const { key, state } = await hold(3600_000, { checkMs: 50 })
    for (const stray of [undefined, '{"junk":1}', 'x', undefined]) {
      const { modRevision, leaseId } = await standing(key)
      if (stray === undefined) await server.ctl('del', key)
      else await server.ctl('put', key, stray)
      await until('the key to be ours again', async () => {
        const now = await standing(key)
        return now.leaseId !== undefined && now.leaseId !== leaseId && now.modRevision !== modRevision
      })
    }
    await until('one etcd lease to be left', async () => (await leases()) === before + 1)
    expect(state.error).toBeUndefined()
  })

  test('keeps a lease for longer than its life', async () => {
    const { key, state, lease } = await hold(20_000, { ttlSeconds: 30 })
    const { createRevision } = await standing(key)
    await new Promise(resolve => setTimeout(resolve, 32_000))
    expect((await standing(key)).createRevision).toBe(createRevision)
    expect(state.error).toBeUndefined()
    expect(bed.log.said('was gone')).toEqual([])
    expect(lease.since).toBe(Number(createRevision))
  })

  test('does not happen before its time, nor when the wall clock jumps', async () => {
    let jumpMs = 0
    const clock = { now: () => performance.now(), date: () => Date.now() + jumpMs }
    const { key, state } = await hold(3600_000, { checkMs: 50, clock })
    const first = await standing(key)
    for (const jump of [400 * 86_400_000, -400 * 86_400_000]) {
      jumpMs = jump
      await new Promise(resolve => setTimeout(resolve, 300))
    }
    expect(await standing(key)).toEqual(first)
    expect(state.error).toBeUndefined()
  })

  test('happens at once when the clock that never jumps says that the process slept over it', async () => {
    let sleptMs = 0
    const clock = { now: () => performance.now() + sleptMs, date: Date.now }
    const { key, state } = await hold(3600_000, { checkMs: 50, clock })
    const first = await standing(key)
    sleptMs = 23.5 * 3600_000
    await until('the renewal', async () => (await standing(key)).modRevision !== first.modRevision)
    expect((await standing(key)).createRevision).toBe(first.createRevision)
    expect(state.error).toBeUndefined()
  })

  test('of a lease longer than any timer does not turn into a loop', async () => {
    const { store, state } = await hold(3600_000, { ttlSeconds: 60 * 86_400, checkMs: 30 * 86_400_000 })
    await until('the keeper to have looked', () => store.calls >= 4)
    const isQuiet = async () => {
      const calls = store.calls
      await new Promise(resolve => setTimeout(resolve, 1_000))
      return store.calls === calls
    }
    await until('no more calls', isQuiet)
    expect(await isQuiet()).toBe(true)
    expect(state.error).toBeUndefined()
  })

  test('with a margin longer than the lease still leaves a third of its life between two', async () => {
    const { key } = await hold(3600_000, { ttlSeconds: 30, checkMs: 50 })
    const first = await standing(key)
    await new Promise(resolve => setTimeout(resolve, 1_000))
    expect(await standing(key)).toEqual(first)
    await until('the renewal', async () => (await standing(key)).modRevision !== first.modRevision)
  })
})

describe('a lease that could not be renewed', () => {
  test('is claimed again with the same subnet when it ran out meanwhile', async () => {
    const { store, lease, key, state } = await hold(500, { ttlSeconds: 600 })
    await until('the keeper to have looked', () => store.calls >= 4)
    const id = BigInt((await standing(key)).leaseId ?? 0).toString(16)
    await server.ctl('lease', 'revoke', id)
    await until('the key', async () => Number((await standing(key)).createRevision ?? 0) > lease.since)
    expect(state.error).toBeUndefined()
    expect(await bed.keys()).toEqual([lease.node])
  })
})
