import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Timing } from '../../../lease/kubernetes/session.ts'
import type { Fault } from '../../support/api_server.ts'
import { FakeCluster } from '../../support/api_server_cluster.ts'
import { type OpenStore, openStore, Watching } from '../../support/api_server_store.ts'
import { until } from '../../support/until.ts'

const flannel = 'flannel.alpha.coreos.com'

let cluster: FakeCluster
let opened: OpenStore
let watching: Watching

/** A peer as flanneld leaves it. */
function peer(n: number) {
  return {
    name: `n${n}`,
    podCidrs: [`10.244.${n}.0/24`],
    annotations: {
      [`${flannel}/kube-subnet-manager`]: 'true',
      [`${flannel}/backend-type`]: 'vxlan',
      [`${flannel}/backend-data`]: `{"VNI":1,"VtepMAC":"02:00:00:00:00:0${n}"}`,
      [`${flannel}/public-ip`]: `192.168.0.${n}`,
    },
  }
}

const line = (n: number) => `n${n} vxlan 10.244.${n}.0/24 at 192.168.0.${n}`

function watch(timing: Partial<Timing> = {}): void {
  opened = openStore(cluster.options('n1'), timing)
  watching = new Watching(opened.store.watch(opened.signal))
}

/** Whether the watch is alive: a new peer is seen. */
async function staysAlive(): Promise<void> {
  await cluster.createNode(peer(9))
  await watching.until('the new peer', it => it.lines().includes(line(9)))
}

beforeEach(async () => {
  cluster = await FakeCluster.open()
  await cluster.createNode(peer(1))
  await cluster.createNode(peer(2))
})

afterEach(async () => {
  await opened.close()
  await watching.ended()
  await cluster.close()
})

describe('a watch of the Nodes', () => {
  it('reads the Nodes whole once, page by page, and then metadata alone', async () => {
    for (let n = 10; n < 260; n++)
      await cluster.createNode({ ...peer(1), name: `m${n}`, podCidrs: [`10.244.${n}.0/24`] })
    watch()
    await watching.until('all', it => it.lines().length === 248)
    await until('the watch', () => cluster.server.watching === 1)
    const actions = cluster.server.requests.map(({ action, accept, query }) =>
      [
        action,
        query.get('limit'),
        query.has('continue') ? 'more' : '',
        accept.includes('Partial') ? 'metadata' : 'whole',
      ]
        .filter(Boolean)
        .join(' '),
    )
    expect(actions).toEqual([
      'list nodes 100 whole',
      'list nodes 100 more whole',
      'list nodes 100 more whole',
      'watch nodes metadata',
    ])
    expect(cluster.server.requests.at(-1)?.query.get('allowWatchBookmarks')).toBe('true')
  })

  const faults: [string, Fault][] = [
    ['ends each watch at once', { kind: 'close' }],
    ['says 410 as an event', { kind: 'gone-event' }],
    ['says 410 as its HTTP status', { kind: 'status', status: 410 }],
    ['resets the connection before it answers', { kind: 'reset' }],
    ['resets the connection after it answered', { kind: 'reset-later' }],
    ['says 500', { kind: 'status', status: 500 }],
    ['says 503', { kind: 'status', status: 503 }],
    ['says 401', { kind: 'status', status: 401 }],
  ]
  it.each(faults)(
    'asks no more than a few times a second of a server that %s, and lives on',
    async (_, fault) => {
      watch({ pace: { minMs: 100, maxMs: 400 } })
      await until('the watch', () => cluster.server.watching === 1)
      const since = cluster.server.requests.length
      const began = performance.now()
      cluster.server.fault = ({ action }) => (action === 'watch nodes' ? fault : undefined)
      cluster.server.endWatches()
      await until('five tries', () => cluster.server.seen('watch nodes', since).length === 5)
      expect(performance.now() - began).toBeGreaterThan(75 + 150 + 300 + 300)
      expect(cluster.server.requests.length - since).toBeLessThanOrEqual(10)
      cluster.server.fault = () => undefined
      await staysAlive()
      expect(watching.lines()).toEqual([line(1), line(2), line(9)])
      expect(opened.store.health().trouble).toBeUndefined()
    },
  )
})
