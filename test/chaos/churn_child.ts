import { openEtcdStore } from '../../lease/etcd/store.ts'
import { parseIp } from '../../lease/net/ip.ts'
import { etcdOptions } from '../support/etcd_bed.ts'
import { RecordingLog } from '../support/log.ts'

export const CHURN_PREFIX = '/churn/network'
const EVERY_MS = 10_000

/** Bytes, after a collection of garbage, and what the store has done for them. */
export interface Memory {
  readonly rss: number
  readonly heap: number
  readonly tables: number
  readonly changes: number
}

/** Claims, keeps and watches as an agent does, and tells its memory to who forked it. Never resolves. */
export async function followChurn(endpoint: string): Promise<number> {
  process.on('disconnect', () => process.exit(0))
  const store = openEtcdStore(etcdOptions([endpoint], CHURN_PREFIX), new RecordingLog())
  const { signal } = new AbortController()
  let tables = 0
  let changes = 0
  setInterval(() => {
    globalThis.gc?.()
    const { rss, heapUsed } = process.memoryUsage()
    process.send?.({ rss, heap: heapUsed, tables, changes } satisfies Memory)
  }, EVERY_MS)
  const network = await store.networkConfig(signal)
  const request = { network, publicIps: [parseIp('198.51.100.1')], previousSubnets: [], backendType: 'vxlan' }
  const lease = await store.acquire({ ...request, backendData: () => [] }, signal)
  store.keep(lease, signal).catch(error => {
    process.stderr.write(`${error}\n`)
    process.exit(1)
  })
  for await (const { changed } of store.watch(signal)) {
    tables++
    changes += changed.size
  }
  return 0
}
