import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EtcdClient } from '../../../lease/etcd/client/client.ts'
import { defaultTuning } from '../../../lease/etcd/client/tuning.ts'
import { MOST_REFUSED } from '../../../lease/table.ts'
import { type EtcdServer, startEtcd } from '../../support/etcd.ts'
import { EtcdBed, etcdOptions } from '../../support/etcd_bed.ts'
import { hostileChange } from '../../support/hostile_changes.ts'
import { RecordingLog } from '../../support/log.ts'

const good = '{"PublicIP":"192.168.0.9","PublicIPv6":null,"BackendType":"vxlan"}'

describe('a flood of hostile changes', () => {
  let server: EtcdServer
  let client: EtcdClient
  const stop = new AbortController()
  beforeAll(async () => {
    server = await startEtcd({ flags: ['--max-txn-ops=1024'] })
    client = new EtcdClient(etcdOptions([server.endpoint], '/x'), defaultTuning, new RecordingLog())
  })
  afterAll(async () => {
    stop.abort(new Error('the test is over'))
    client.close()
    await server.remove()
  })

  /** Of the first so many changes, those of one transaction. */
  const send = async (bed: EtcdBed, from: number, to: number) => {
    const changes = new Map<string, { put: string; value: string; leaseId: string } | { remove: string }>()
    for (let n = from; n < to; n++) {
      const { key, value } = hostileChange(n)
      const path = bed.key(key)
      changes.set(path, value === undefined ? { remove: path } : { put: path, value, leaseId: '0' })
    }
    await client.commit({ conditions: [], changes: [...changes.values()] }, stop.signal)
  }

  it('is taken in slices, with a turn of the event loop after each', async () => {
    const bed = new EtcdBed(server)
    await bed.writeConfig('{"Network":"10.0.0.0/8"}')
    const store = bed.openNode()
    await store.networkConfig(stop.signal)
    const sizes: number[] = []
    for await (const { table, changed } of store.watch(stop.signal)) {
      sizes.push(changed.size)
      // Not waited for: the taker is there for each slice.
      if (sizes.length === 1) void send(bed, 0, 1_000).then(() => bed.writeLease('10.1.5.0-24', good))
      if (table.has('10.1.5.0-24')) break
    }
    expect(sizes.length).toBeGreaterThan(10)
    expect(Math.max(...sizes)).toBeLessThanOrEqual(50)
    await bed.close()
  })

  it('leaves a bounded table, read again from the start too', async () => {
    const bed = new EtcdBed(server)
    await bed.writeConfig('{"Network":"10.0.0.0/8"}')
    for (let n = 0; n < 12_000; n += 600) await send(bed, n, n + 600)
    await bed.writeLease('10.1.5.0-24', good)
    const store = bed.openNode()
    await store.networkConfig(stop.signal)
    for await (const { table, problems } of store.watch(stop.signal)) {
      expect([...table.keys()].filter(node => node.startsWith('11.')).length).toBeLessThan(MOST_REFUSED)
      expect(problems).toHaveLength(MOST_REFUSED)
      expect(table.has('10.1.5.0-24')).toBe(true)
      break
    }
    await bed.close()
  })
})
