import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SeenRequest } from '../../../support/api_server.ts'
import { FakeCluster } from '../../../support/api_server_cluster.ts'
import { type OpenStore, openStore, Watching } from '../../../support/api_server_store.ts'
import { until } from '../../../support/until.ts'

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
  await until('the watch', () => cluster.server.watching === 1 && cluster.server.requests.length === 2)
})

afterEach(async () => {
  await opened.close()
  await watching.ended()
  await cluster.close()
})

const podCidr = (n: number) => `10.${244 + (n >> 8)}.${n & 255}.0/24`

/** A Node that becomes a peer when it is created: as flanneld leaves one, and more. */
function node(name: string, n: number, more: Record<string, string>) {
  const annotations = {
    [`${flannel}/kube-subnet-manager`]: 'true',
    [`${flannel}/backend-type`]: 'vxlan',
    [`${flannel}/backend-data`]: `{"VNI":1,"VtepMAC":"02:00:00:00:0${n >> 8}:${(n & 255).toString(16).padStart(2, '0')}"}`,
    [`${flannel}/public-ip`]: `192.168.${n >> 8}.${n & 255}`,
  }
  return { name, podCidrs: [podCidr(n)], annotations: { ...annotations, ...more } }
}

/** What the one watch is of; undefined where there are two of them. */
function watched(): 'metadata' | 'whole' | undefined {
  if (cluster.server.watching !== 1) return undefined
  const last = cluster.server.seen('watch nodes').at(-1)
  return last?.accept.includes('as=PartialObjectMetadata') ? 'metadata' : 'whole'
}

const line = (name: string, n: number) => `${name} vxlan ${podCidr(n)} at 192.168.0.${n}`

async function join(
  count: number,
  more: (n: number) => Record<string, string> = () => ({}),
  then: (n: number) => Promise<void> = async () => {},
): Promise<void> {
  const since = cluster.server.requests.length
  for (let n = 1; n <= count; n++) {
    await cluster.createNode(node(`n${n}`, n, more(n)))
    await then(n)
  }
  await until('all leases', () => watching.lines(/^n/).length === count)
  expect(watching.lines(/^n2$/)).toEqual([line('n2', 2)])
  requests = cluster.server.requests.slice(since).map(({ action }) => action)
}

let requests: string[]

describe('Nodes that join', () => {
  it('cost no request where their agents publish their podCIDRs', async () => {
    await join(200, n => ({ [`${flannel}/pod-cidrs`]: podCidr(n) }))
    expect(requests).toEqual([])
  })

  it.each([0, 20])(
    'cost a few requests where a thousand that run flanneld join at once, answered after %i ms',
    async answerAfterMs => {
      cluster.server.answerAfterMs = answerAfterMs
      await join(1000)
      expect(requests.length).toBeLessThanOrEqual(25)
      expect(requests).not.toContain('list nodes')
    },
  )

  it('cost a few requests where they run flanneld and join one by one', async () => {
    await join(
      200,
      () => ({}),
      async n => watching.until(`n${n}`, it => it.changes.at(-1)?.table.has(`n${n}`) === true),
    )
    expect(requests.length).toBeLessThanOrEqual(25)
    expect(requests).not.toContain('list nodes')
  })

  it('are read one by one again after no Node has joined for a while', async () => {
    await join(50)
    await until('the watch of metadata', () => watched() === 'metadata')
    const since = cluster.server.requests.length
    await cluster.createNode(node('late', 250, {}))
    await watching.lines_are([line('late', 250)], /^late/)
    await cluster.deleteNode('n1')
    await watching.until('n1 to leave', it => it.lines(/^n1$/).length === 0)
    expect(
      cluster.server.seen('get nodes', since).length + cluster.server.seen('watch nodes', since).length,
    ).toBe(1)
  })

  it('have their podCIDRs assigned while whole Nodes are watched', async () => {
    await join(50)
    await until('the watch of whole Nodes', () => watched() === 'whole')
    const since = cluster.server.requests.length
    await cluster.createNode({ ...node('late', 250, {}), podCidrs: [] })
    await watching.until('the problem', it => it.problems().length > 0)
    expect(watching.problems()).toEqual(['late: no podCIDR is assigned'])
    await cluster.assignPodCidrs('late', [podCidr(250)])
    await watching.lines_are([line('late', 250)], /^late/)
    await cluster.createNode({ name: 'bare', podCidrs: [podCidr(251)] })
    await cluster.annotate('bare', node('bare', 251, {}).annotations)
    await watching.lines_are([line('bare', 251)], /^bare/)
    await cluster.deleteNode('n1')
    await cluster.annotate('n2', { [`${flannel}/public-ip`]: '192.168.0.200' })
    await watching.lines_are(['n2 vxlan 10.244.2.0/24 at 192.168.0.200'], /^n[12]$/)
    expect(cluster.server.requests.length).toBe(since)
  })

  it.each([
    ['few', 4],
    ['many', 100],
  ])('hold up neither a deletion nor another public IP, where %s are read', async (_, count) => {
    await join(2, n => ({ [`${flannel}/pod-cidrs`]: podCidr(n) }))
    const readsNode = ({ action, accept }: SeenRequest) =>
      !/metadata/i.test(accept) && action !== 'patch nodes/status'
    cluster.server.fault = request => (readsNode(request) ? { kind: 'hang' } : undefined)
    const since = cluster.server.requests.length
    for (let n = 0; n < count; n++) await cluster.createNode(node(`late${n}`, n + 3, {}))
    await until('the question', () => cluster.server.requests.slice(since).some(readsNode))
    await cluster.deleteNode('n1')
    await cluster.annotate('n2', { [`${flannel}/public-ip`]: '192.168.0.200' })
    await watching.lines_are(['n2 vxlan 10.244.2.0/24 at 192.168.0.200'], /^n/)
    cluster.server.fault = () => undefined
    await watching.until('all leases', it => it.lines(/^late/).length === count)
    await until('no trouble', () => opened.store.health().trouble === undefined)
  })

  it('leave no trouble where the watch of whole Nodes was refused and is no longer wanted', async () => {
    cluster.server.fault = ({ action, accept }) =>
      action === 'watch nodes' && !accept.includes('Partial') ? { kind: 'status', status: 403 } : undefined
    for (let n = 1; n <= 30; n++) await cluster.createNode(node(`n${n}`, n, {}))
    await until('the trouble', () => /Cannot watch nodes/.test(opened.store.health().trouble ?? ''))
    for (let n = 1; n <= 30; n++) await cluster.deleteNode(`n${n}`)
    await until('no trouble', () => opened.store.health().trouble === undefined)
  })

  it('are read one by one where few do', async () => {
    await join(4)
    expect(requests).toEqual(Array(4).fill('get nodes'))
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
  ] as const)('hold up no other where reading one of them %s', async (_, fault) => {
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
