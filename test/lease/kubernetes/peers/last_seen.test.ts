import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LastSeen } from '../../../../lease/kubernetes/peers/last_seen.ts'
import { printLease } from '../../../../lease/lease.ts'
import { LeaseLostError } from '../../../../lease/store.ts'
import { FakeCluster } from '../../../support/api_server_cluster.ts'
import {
  type OpenStore,
  openStore,
  requestFor,
  testTiming,
  Watching,
} from '../../../support/api_server_store.ts'
import { until } from '../../../support/until.ts'

const flannel = 'flannel.alpha.coreos.com'

describe('a node that starts while the API server is away', () => {
  let cluster: FakeCluster
  let opened: OpenStore

  function open(): OpenStore {
    opened = openStore(cluster.options('n1', { cacheFile: join(cluster.folder, 'leases') }))
    return opened
  }

  async function acquire({ store, signal }: OpenStore) {
    return await store.acquire(requestFor(await store.networkConfig(signal), ['192.168.0.1']), signal)
  }

  /** A life before, of which the cache is left. */
  beforeEach(async () => {
    cluster = await FakeCluster.open()
    for (const n of [1, 2])
      await cluster.createNode({
        name: `n${n}`,
        podCidrs: [`10.244.${n}.0/24`],
        annotations: {
          [`${flannel}/node-public-ip`]: `198.51.100.${n}`,
        },
      })
    const other = openStore(cluster.options('n2'))
    await other.store.acquire(
      requestFor(await other.store.networkConfig(other.signal), ['192.168.0.2']),
      other.signal,
    )
    await other.close()
    const first = open()
    await first.store.publicIpHints(first.signal)
    await acquire(first)
    const watching = new Watching(first.store.watch(first.signal))
    await watching.until('both', it => it.lines().length === 2)
    await first.close()
    await watching.ended()
    await cluster.server.stop()
  })

  afterEach(async () => {
    await opened.close()
    await cluster.close()
  })

  it('has its hints, its lease and its peers from the cache, and says so', async () => {
    const second = open()
    expect(await second.store.publicIpHints(second.signal)).toEqual(['198.51.100.1'])
    expect(printLease(await acquire(second))).toBe('10.244.1.0/24 at 192.168.0.1')
    const watching = new Watching(second.store.watch(second.signal))
    const peers = ['n1 vxlan 10.244.1.0/24 at 192.168.0.1', 'n2 vxlan 10.244.2.0/24 at 192.168.0.2']
    await watching.lines_are(peers)
    expect(second.log.matching(/continuing with 2 leases of/)).toHaveLength(1)
    await cluster.deleteNode('n2')
    await cluster.server.start()
    await watching.lines_are(peers.slice(0, 1))
    await second.close()
    await watching.ended()
  })

  it('waits for an answer once, not for each thing that it asks for', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const health = () => ({ lastContactMs: undefined, trouble: undefined, troubleMs: 0 })
    const file = join(cluster.folder, 'leases')
    const lastSeen = new LastSeen(file, 'kubernetes', { timing: testTiming, health }, opened.log)
    const { signal } = new AbortController()
    const first = lastSeen.whenAway(signal)
    await vi.advanceTimersByTimeAsync(testTiming.cacheAfterMs)
    await first
    const second = lastSeen.whenAway(signal)
    await vi.advanceTimersByTimeAsync(1)
    await second
    vi.useRealTimers()
  })

  it('publishes what differs once the API server is back', async () => {
    const second = open()
    const lease = await acquire(second)
    const kept = second.store.keep(lease, second.signal)
    await cluster.annotate('n1', { [`${flannel}/public-ip`]: '192.168.0.99' })
    await cluster.server.start()
    await until('the public IP', async () => {
      const { metadata } = await cluster.readNode('n1')
      return metadata.annotations[`${flannel}/public-ip`] === '192.168.0.1'
    })
    await second.close()
    await kept
  })

  it('loses the lease where the Node has another podCIDR meanwhile', async () => {
    const second = open()
    const lease = await acquire(second)
    await cluster.deleteNode('n1')
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.9.0/24'] })
    await cluster.server.start()
    await expect(second.store.keep(lease, second.signal)).rejects.toBeInstanceOf(LeaseLostError)
  })
})
