import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeCluster } from '../../support/api_server_cluster.ts'
import { type OpenStore, openStore, Watching } from '../../support/api_server_store.ts'
import { until } from '../../support/until.ts'

/** What other Nodes cost this one when they join, and that none of them holds up another. */

const flannel = 'flannel.alpha.coreos.com'

let cluster: FakeCluster
let opened: OpenStore
let watching: Watching

beforeEach(async () => {
  cluster = await FakeCluster.open()
  await cluster.createNode(node('first', 0, {}))
  opened = openStore(cluster.options('first'))
  watching = new Watching(opened.store.watch(opened.signal))
  await until('the watch', () => cluster.server.watching === 1)
})

afterEach(async () => {
  await opened.close()
  await watching.ended()
  await cluster.close()
})

const podCidr = (n: number) => `10.244.${n}.0/24`

/** A Node that becomes a peer when it is created: as flanneld leaves one, and more. */
function node(name: string, n: number, more: Record<string, string>) {
  const annotations = {
    [`${flannel}/kube-subnet-manager`]: 'true',
    [`${flannel}/backend-type`]: 'vxlan',
    [`${flannel}/backend-data`]: `{"VNI":1,"VtepMAC":"02:00:00:00:00:${n.toString(16).padStart(2, '0')}"}`,
    [`${flannel}/public-ip`]: `192.168.0.${n}`,
  }
  return { name, podCidrs: [podCidr(n)], annotations: { ...annotations, ...more } }
}

const line = (name: string, n: number) => `${name} vxlan ${podCidr(n)} at 192.168.0.${n}`

async function join(count: number, more: (n: number) => Record<string, string> = () => ({})): Promise<void> {
  const since = cluster.server.requests.length
  for (let n = 1; n <= count; n++) await cluster.createNode(node(`n${n}`, n, more(n)))
  await until('all leases', () => watching.lines(/^n/).length === count)
  expect(watching.lines(/^n7$/)).toEqual([line('n7', 7)])
  requests = cluster.server.requests.slice(since).map(({ action }) => action)
}

let requests: string[]

describe('Nodes that join', () => {
  it('cost no request where their agents publish their podCIDRs', async () => {
    await join(200, n => ({ [`${flannel}/pod-cidrs`]: podCidr(n) }))
    expect(requests).toEqual([])
  })

  it('are read by a list where many that run flanneld join at once', async () => {
    cluster.server.answerAfterMs = 20
    await join(200)
    expect(requests.length).toBeLessThan(60)
    expect(requests).toContain('list nodes')
  })

  it('are read one by one where few do', async () => {
    await join(10)
    expect(requests).toEqual(Array(10).fill('get nodes'))
  })

  it.each(['', 'nonsense', '10.244.7.0/24,10.244.8.0/24', '10.244.7.0/24,'])(
    'are read where what they publish is %o',
    async text => {
      await cluster.createNode(node('n1', 1, { [`${flannel}/pod-cidrs`]: text }))
      await watching.lines_are([line('n1', 1)], /^n/)
    },
  )

  it('are what the API server assigned, whatever they publish, where both are known', async () => {
    await cluster.annotate('first', { [`${flannel}/pod-cidrs`]: '10.244.99.0/24' })
    await cluster.annotate('first', { [`${flannel}/public-ip`]: '192.168.0.200' })
    await watching.lines_are(['first vxlan 10.244.0.0/24 at 192.168.0.200'])
  })

  it.each([
    ['is refused', { kind: 'status', status: 500 }],
    ['is never answered', { kind: 'hang' }],
  ] as const)('hold up nobody where reading one of them %s', async (_, fault) => {
    const isBad = ({ action, path }: { action: string; path: string }) =>
      action === 'get nodes' && path.endsWith('/bad')
    cluster.server.fault = request => (isBad(request) ? fault : undefined)
    await cluster.createNode(node('bad', 250, {}))
    await until('the try', () => cluster.server.requests.some(isBad))
    await cluster.createNode(node('n1', 1, {}))
    await cluster.annotate('first', { [`${flannel}/public-ip`]: '192.168.0.200' })
    await watching.lines_are(['first vxlan 10.244.0.0/24 at 192.168.0.200', line('n1', 1)])
    await until('the problem', () =>
      watching.problems().some(problem => /^bad: Cannot get nodes/.test(problem)),
    )
    cluster.server.fault = () => undefined
    await watching.lines_are([line('bad', 250)], /^bad/)
    expect(watching.problems()).toEqual([])
  })

  it('are followed where their podCIDR comes while it is being asked for', async () => {
    cluster.server.answerAfterMs = 20
    await cluster.createNode({ ...node('n1', 1, {}), podCidrs: [] })
    await until('the question', () => cluster.server.seen('get nodes').length > 0)
    cluster.server.answerAfterMs = 0
    await cluster.assignPodCidrs('n1', [podCidr(1)])
    await watching.lines_are([line('n1', 1)], /^n/)
  })

  it('are forgotten where they are gone before they are read', async () => {
    cluster.server.answerAfterMs = 20
    await cluster.createNode(node('n1', 1, {}))
    await cluster.deleteNode('n1')
    await cluster.createNode(node('n2', 2, {}))
    await watching.lines_are([line('n2', 2)], /^n/)
    expect(watching.problems()).toEqual([])
  })
})
