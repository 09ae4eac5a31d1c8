import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EtcdClient } from '../../../../lease/etcd/client/client.ts'
import { keysUnder } from '../../../../lease/etcd/client/keys.ts'
import { type PageRequest, readPages } from '../../../../lease/etcd/client/pages.ts'
import { defaultTuning } from '../../../../lease/etcd/client/tuning.ts'
import { follow } from '../../../contract/lease_store.ts'
import { type EtcdServer, startEtcd } from '../../../support/etcd.ts'
import { EtcdBed, etcdOptions } from '../../../support/etcd_bed.ts'
import { RecordingLog } from '../../../support/log.ts'
import { until } from '../../../support/until.ts'

const value = '{"PublicIP":"192.168.0.9","PublicIPv6":null,"BackendType":"vxlan"}'
const megabytes = 'x'.repeat(1_400_000)

describe('a listing', () => {
  let server: EtcdServer
  let client: EtcdClient
  const stop = new AbortController()
  beforeAll(async () => {
    server = await startEtcd()
    client = new EtcdClient(etcdOptions([server.endpoint], '/x'), defaultTuning, new RecordingLog())
  })
  afterAll(async () => {
    stop.abort(new Error('the test is over'))
    client.close()
    await server.remove()
  })

  const put = (key: string, text: string) =>
    client.commit({ conditions: [], changes: [{ put: key, value: text, leaseId: '0' }] }, stop.signal)

  it('is whole and of one revision over several pages, with keys longer than any of a lease among them', async () => {
    for (let i = 0; i < 12; i++)
      await client.commit(
        {
          conditions: [],
          changes: Array.from({ length: 100 }, (_, n) => ({ put: `/many/${i}-${n}`, value, leaseId: '0' })),
        },
        stop.signal,
      )
    for (const end of ['a', 'b']) await put(`/many/1${'k'.repeat(5_000)}${end}`, value)
    const { kvs, revision } = await client.range(keysUnder('/many/'), stop.signal)
    expect(kvs).toHaveLength(1_202)
    expect(kvs.every(kv => kv.modRevision <= revision && kv.key.length <= 1_025)).toBe(true)
  })

  it('and a watch keep nothing of values that are larger than a lease can be', async () => {
    const bed = new EtcdBed(server)
    await bed.writeConfig('{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}')
    await bed.writeLease('10.1.200.0-24', value)
    for (let i = 0; i < 12; i++) await put(`${bed.prefix}/subnets/10.1.${i}.0-24`, megabytes)
    const tables = follow(bed.openNode(), stop.signal)
    await tables.until(table => table.has('10.1.200.0-24'))
    expect(tables.problems).toHaveLength(12)
    for (let i = 12; i < 24; i++) await put(`${bed.prefix}/subnets/10.1.${i}.0-24`, megabytes)
    await bed.writeLease('10.1.201.0-24', value)
    await tables.until(table => table.has('10.1.201.0-24'))
    await until('all problems', () => tables.problems.length === 24)
    expect(tables.problems.every(({ reason }) => reason.length < 500)).toBe(true)
    expect(tables.problems[0]?.reason).toContain('it is longer than 65536 bytes')
    const { kvs } = await client.range(keysUnder(`${bed.prefix}/subnets/`), stop.signal)
    expect(kvs.every(kv => kv.value.length <= 65_537)).toBe(true)
    await bed.close()
  })

  it('asks for fewer keys where an answer is too large, and for the key alone where one value is', async () => {
    const asked: string[] = []
    const ask = async ({ limit, keysOnly, from }: PageRequest) => {
      asked.push(`${limit}${keysOnly ? ' keys' : ''}`)
      if (!keysOnly && from === undefined) throw new Error('Received message larger than max (9 vs 4)')
      const kv = { key: `k${asked.length}`, value: '', createRevision: 1, modRevision: 1, leaseId: '0' }
      const last = from === undefined ? Buffer.from(kv.key) : undefined
      return { clusterId: '1', revision: 7, kvs: [kv], bytes: 0, last }
    }
    const { kvs } = await readPages(ask, kv => kv)
    expect(asked).toEqual(['16', '2', '1', '1 keys', '1'])
    expect(kvs).toHaveLength(2)
  })

  it('asks for as many keys as are a megabyte, by the size of the values before', async () => {
    const sizes = [200, 200, 200, 5_000, 5_000, 1_400_000, 1_400_000, 200, 200]
    const asked: number[] = []
    const ask = async ({ limit }: PageRequest) => {
      const size = sizes[asked.length] ?? 0
      asked.push(limit)
      const kv = { key: `k${asked.length}`, value: '', createRevision: 1, modRevision: 1, leaseId: '0' }
      const last = asked.length < sizes.length ? Buffer.from(kv.key) : undefined
      return { clusterId: '1', revision: 7, kvs: [kv], bytes: limit * size, last }
    }
    await readPages(ask, kv => kv)
    expect(asked).toEqual([16, 128, 1_024, 1_024, 209, 209, 1, 1, 8])
  })
})
