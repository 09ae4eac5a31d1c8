import { expect, it } from 'vitest'
import { silentLog } from '../../../../lease/common/log.ts'
import { EtcdClient } from '../../../../lease/etcd/client/client.ts'
import { defaultTuning } from '../../../../lease/etcd/client/tuning.ts'
import { etcdOptions } from '../../../support/etcd_bed.ts'

it('counts the connections after the first one: none before there is any', async () => {
  const client = new EtcdClient(etcdOptions(['http://127.0.0.1:1'], '/x'), defaultTuning, silentLog)
  const ask = () => client.grant(60, new AbortController().signal).catch(() => {})
  expect(client.reconnects).toBe(0)
  await ask()
  expect(client.reconnects).toBe(0)
  await ask()
  expect(client.reconnects).toBe(1)
  client.close()
})
