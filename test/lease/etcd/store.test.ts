import { afterAll, beforeAll } from 'vitest'
import { describeLeaseStore } from '../../contract/lease_store.ts'
import { type EtcdServer, startEtcd } from '../../support/etcd.ts'
import { EtcdBed } from '../../support/etcd_bed.ts'

let server: EtcdServer
beforeAll(async () => {
  server = await startEtcd()
})
afterAll(() => server.remove())

describeLeaseStore('etcd', async () => new EtcdBed(server))
