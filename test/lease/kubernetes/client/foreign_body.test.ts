import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Fault } from '../../../support/api_server.ts'
import { FakeCluster } from '../../../support/api_server_cluster.ts'
import { type OpenStore, openStore, requestFor, Watching } from '../../../support/api_server_store.ts'

const MB = 1024 * 1024

let cluster: FakeCluster
let opened: OpenStore

beforeEach(async () => {
  cluster = await FakeCluster.open()
  await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
  opened = openStore(cluster.options('n1'), { pace: { minMs: 20, maxMs: 20 } })
})

afterEach(async () => {
  await opened.close()
  await cluster.close()
})

/** The first answers to these requests never end; those after them are as they should be. */
function failFirst(action: string, fault: Omit<Extract<Fault, { kind: 'endless' }>, 'kind'>): void {
  let failed = false
  cluster.server.fault = seen => {
    if (failed || seen.action !== action) return undefined
    failed = true
    return { kind: 'endless', ...fault }
  }
}

describe('an answer of the API server that never ends', () => {
  it.each([
    ['a Node', 'get nodes', 200, '{"metadata":{"name":"', /one object of the answer is longer than 16 MB/],
    ["a proxy's error page", 'get nodes', 502, '<html>', /HTTP 502/],
    ['the answer to a patch', 'patch nodes/status', 200, '{"a":"', /longer than 16 MB/],
  ])('is given up, and asked for again: %s', async (_, action, status, start, message) => {
    failFirst(action, { status, start })
    const { store, signal, log } = opened
    await store.acquire(requestFor(await store.networkConfig(signal), ['192.168.0.1']), signal)
    await store.announceReady(signal)
    expect(log.matching(message)).toHaveLength(1)
    expect(cluster.server.bytesSent).toBeLessThan(64 * MB)
  })

  it.each([
    ['a line of a watch', 'watch nodes', '{"type":"ADDED","object":{"metadata":{"name":"'],
    ['a line after others', 'watch nodes', '{"type":"BOOKMARK","object":{}}\n{"type":"'],
    ['a member of a list', 'list nodes', '{"kind":"NodeList","items":[{"metadata":{"name":"'],
    ['a list', 'list nodes', '{"kind":"'],
  ])('is given up, and asked for again: %s', async (_, action, start) => {
    cluster.server.watchList = action === 'watch nodes'
    failFirst(action, { status: 200, start })
    const watching = new Watching(opened.store.watch(opened.signal))
    await watching.until('the table', it => it.changes.length > 0)
    expect(opened.log.matching(/one object of the answer is longer than 16 MB/)).toHaveLength(1)
    expect(cluster.server.bytesSent).toBeLessThan(64 * MB)
    await opened.close()
    await watching.ended()
  })

  it('is given up, and asked for again: pages without an end', async () => {
    cluster.server.watchList = false
    let pages = 0
    cluster.server.fault = ({ action }) => {
      if (action !== 'list nodes' || pages === 1_000) return undefined
      pages++
      return { kind: 'body', body: '{"kind":"NodeList","metadata":{"continue":"more"},"items":[]}' }
    }
    const watching = new Watching(opened.store.watch(opened.signal))
    await watching.until('the table', it => it.changes.length > 0)
    expect(opened.log.matching(/the list has no end after 200000 Nodes/)).toHaveLength(1)
    await opened.close()
    await watching.ended()
  })

  it.each([
    ['', 'x', 'y'],
    [', of which JSON writes each byte with six', '\u0001', '\u0002'],
  ])('may have a Node of 1.5 MB, in a list and in a watch%s', async (_, first, second) => {
    const bytes = 1_500_000
    await cluster.createNode({ name: 'big', podCidrs: [], annotations: { note: first.repeat(bytes) } })
    cluster.server.watchList = false
    const watching = new Watching(opened.store.watch(opened.signal))
    await watching.until('the table', it => it.changes.length > 0)
    await cluster.annotate('big', { note: second.repeat(bytes) })
    const manager = { 'flannel.alpha.coreos.com/kube-subnet-manager': 'true' }
    await cluster.createNode({ name: 'n2', podCidrs: ['10.244.2.0/24'], annotations: manager })
    await watching.until('the next Node', it => it.changes.length > 1)
    expect(opened.log.matching(/longer than/)).toEqual([])
    await opened.close()
    await watching.ended()
  })
})

it('survives an error that is nested deeper than a stack is deep', async () => {
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
  let asked = 0
  cluster.server.fault = ({ action }) => {
    if (action !== 'watch nodes' || asked++ > 0) return undefined
    const object = `{"code":500,"message":"${'busy '.repeat(10_000)}","a":${deep}}`
    return { kind: 'body', body: `{"type":"ERROR","object":${object}}\n` }
  }
  const watching = new Watching(opened.store.watch(opened.signal))
  await watching.until('the table', it => it.changes.length > 0)
  const [line = ''] = opened.log.matching(/HTTP 500, busy/)
  expect([line.length > 500, line.length < 1_500]).toEqual([true, true])
  await opened.close()
  await watching.ended()
})
