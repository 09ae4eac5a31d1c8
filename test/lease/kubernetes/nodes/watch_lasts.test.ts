import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Timing } from '../../../../lease/kubernetes/client/session.ts'
import type { Fault, SeenRequest } from '../../../support/api_server.ts'
import { FakeCluster } from '../../../support/api_server_cluster.ts'
import { type OpenStore, openStore, Watching } from '../../../support/api_server_store.ts'
import { until } from '../../../support/until.ts'

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

/** A bearer token as the API server makes them for a ServiceAccount, as far as its end goes: `exp` of a JWT. */
function shortLived(forMs: number): string {
  const payload = JSON.stringify({ exp: (Date.now() + forMs) / 1000, jti: randomUUID() })
  return `e30.${Buffer.from(payload).toString('base64url')}.sig`
}

/** The server refuses tokens past their end. */
function watchWithToken(file: string, timing: Partial<Timing> = {}): void {
  cluster.server.fault = ({ authorization }) => {
    const payload = Buffer.from(authorization.split('.')[1] ?? '', 'base64url').toString()
    const isValid = payload !== '' && JSON.parse(payload).exp * 1000 > Date.now()
    return isValid ? undefined : { kind: 'status', status: 401 }
  }
  const kubeconfigFile = cluster.server.writeKubeconfig(join(cluster.folder, 'k'), `{tokenFile: ${file}}`)
  opened = openStore(cluster.options('n1', { kubeconfigFile }), timing)
  watching = new Watching(opened.store.watch(opened.signal))
}

/** Whether the watch is alive: a new peer is seen. */
async function staysAlive(): Promise<void> {
  await cluster.createNode(peer(9))
  await watching.until('the new peer', it => it.lines().includes(line(9)))
}

/**
 * Nodes 1 and 2 are watched; while the server is away Node 3 comes, Node 2 goes and the history is compacted. Returns the
 * number of requests before that.
 */
async function fallBehind(): Promise<number> {
  watch()
  await watching.lines_are([line(1), line(2)])
  await until('the watch', () => cluster.server.watching === 1)
  const since = cluster.server.requests.length
  await cluster.server.stop()
  await cluster.createNode(peer(3))
  await cluster.deleteNode('n2')
  cluster.server.storage.compact()
  await cluster.server.start()
  await watching.lines_are([line(1), line(3)])
  return since
}

beforeEach(async () => {
  cluster = await FakeCluster.open()
  // Lists are a part of what is tested here.
  cluster.server.watchList = false
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
    for (let n = 0; n < 1100; n++)
      await cluster.createNode({ name: `other${n}`, podCidrs: [`10.${n >> 8}.${n & 255}.0/24`] })
    watch()
    await watching.lines_are([line(1), line(2)])
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
      'watch nodes whole',
      'list nodes 500 whole',
      'list nodes 500 more whole',
      'list nodes 500 more whole',
      'watch nodes metadata',
    ])
    expect(cluster.server.requests.at(-1)?.query.get('allowWatchBookmarks')).toBe('true')
  })

  it('has them all by one watch where the API server has watch-list, and then metadata', async () => {
    cluster.server.watchList = true
    for (let n = 0; n < 1100; n++) await cluster.createNode({ name: `other${n}` })
    watch()
    await watching.lines_are([line(1), line(2)])
    const isMetadata = ({ accept }: SeenRequest) => accept.includes('as=PartialObjectMetadata;')
    await until('the watch', () => cluster.server.requests.some(isMetadata))
    const [first, then, ...more] = cluster.server.requests
    expect(Object.fromEntries(first?.query ?? [])).toEqual({
      watch: 'true',
      allowWatchBookmarks: 'true',
      sendInitialEvents: 'true',
      resourceVersionMatch: 'NotOlderThan',
      timeoutSeconds: expect.any(String),
    })
    expect(then?.query.get('resourceVersion')).toBe(String(cluster.server.storage.version))
    expect(more).toEqual([])
    await until('the first watch to end', () => cluster.server.watching === 1)
    await staysAlive()
  })

  it.each<[string, Fault]>([
    ['ends at once', { kind: 'close' }],
    ['says nothing', { kind: 'silence' }],
    ['is reset', { kind: 'reset-later' }],
    ['is refused', { kind: 'status', status: 500 }],
    ['is no such', { kind: 'status', status: 400 }],
  ])('has them all by a list where such a watch %s', async (_, fault) => {
    cluster.server.watchList = true
    cluster.server.fault = ({ query }) => (query.has('sendInitialEvents') ? fault : undefined)
    // Only silence lasts until this deadline, which the requests that are answered must meet too.
    watch(fault.kind === 'silence' ? { answerWithinMs: 2_000 } : {})
    await watching.lines_are([line(1), line(2)])
    expect(cluster.server.seen('list nodes')).toHaveLength(1)
    expect(watching.changes[0]?.table.size).toBe(2)
    await until('no trouble', () => opened.store.health().trouble === undefined)
  })

  it('is followed through a compaction by a watch of metadata that begins with all', async () => {
    cluster.server.watchList = true
    const since = await fallBehind()
    expect(cluster.server.seen('list nodes', since)).toEqual([])
    const initial = cluster.server
      .seen('watch nodes', since)
      .filter(({ query }) => query.has('sendInitialEvents'))
    expect(initial.map(({ accept }) => accept)).toEqual([
      expect.stringContaining('as=PartialObjectMetadata;'),
    ])
    await staysAlive()
    expect(cluster.server.watching).toBe(1)
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
      await until('five tries', () => cluster.server.seen('watch nodes', since).length >= 5)
      expect(performance.now() - began).toBeGreaterThan(75 + 150 + 300 + 300)
      expect(cluster.server.requests.length - since).toBeLessThanOrEqual(10)
      cluster.server.fault = () => undefined
      await staysAlive()
      expect(watching.lines()).toEqual([line(1), line(2), line(9)])
      await until('all to be well', () => opened.store.health().trouble === undefined)
      expect(opened.store.health().watchRestarts).toBeGreaterThanOrEqual(5)
    },
  )

  it('waits as long as a 429 asks for', async () => {
    watch()
    await until('the watch', () => cluster.server.watching === 1)
    const busy: Fault = { kind: 'status', status: 429, headers: { 'retry-after': '1' } }
    const since = cluster.server.requests.length
    cluster.server.fault = ({ action }) => (action === 'watch nodes' ? busy : undefined)
    cluster.server.endWatches()
    await until('two refusals', () => cluster.server.seen('watch nodes', since).length >= 2)
    const [first, second] = cluster.server.seen('watch nodes', since)
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThan(990)
    cluster.server.fault = () => undefined
    await staysAlive()
  })

  it('leaves a connection on which nothing comes any more, not one that bookmarks keep awake', async () => {
    watch({ watchSilenceMs: 2_000 })
    await until('the watch', () => cluster.server.watching === 1)
    const since = cluster.server.requests.length
    const awake = setInterval(() => cluster.server.bookmark(), 100)
    const began = performance.now()
    await until('twice that silence', () => performance.now() - began > 4_000)
    clearInterval(awake)
    expect(cluster.server.requests.length).toBe(since)
    cluster.server.fault = ({ action }) => (action === 'watch nodes' ? { kind: 'silence' } : undefined)
    await until('another watch', () => cluster.server.seen('watch nodes', since).length >= 2)
    expect(cluster.server.seen('watch nodes', since).length).toBeLessThanOrEqual(4)
    expect(cluster.server.seen('list nodes')).toHaveLength(1)
    cluster.server.fault = () => undefined
    await staysAlive()
    expect(opened.log.matching(/silent for 2 s, the connection is taken for dead/).length).toBeGreaterThan(0)
  })

  it('gives up a request that is never answered', async () => {
    cluster.server.fault = ({ action }) => (action === 'list nodes' ? { kind: 'hang' } : undefined)
    watch({ answerWithinMs: 200 })
    await until('two tries', () => cluster.server.seen('list nodes').length >= 2)
    expect(opened.store.health().trouble).toMatch(/Cannot list nodes at https:\S+: no answer for 0 s/)
    cluster.server.fault = () => undefined
    await watching.lines_are([line(1), line(2)])
  })

  it('continues from a bookmark, and reads no list again when watches end', async () => {
    watch()
    await until('the watch', () => cluster.server.watching === 1)
    await cluster.createNode({ name: 'other' })
    cluster.server.bookmark()
    for (let round = 0; round < 3; round++) {
      const since = cluster.server.requests.length
      cluster.server.endWatches()
      await until('the watch', () => cluster.server.watching === 1)
      const [again] = cluster.server.seen('watch nodes', since)
      expect(again?.query.get('resourceVersion')).toBe(String(cluster.server.storage.version))
    }
    expect(cluster.server.seen('list nodes')).toHaveLength(1)
  })

  it('reads metadata alone when it fell behind, and no Node that it knows', async () => {
    const since = await fallBehind()
    const [list] = cluster.server.seen('list nodes', since)
    expect(list?.accept).toContain('as=PartialObjectMetadataList')
    expect(cluster.server.seen('get nodes', since).map(({ path }) => path)).toEqual(['/api/v1/nodes/n3'])
  })

  it('reads a list and not a hundred Nodes where it missed that many', async () => {
    watch()
    await watching.lines_are([line(1), line(2)])
    await until('the watch', () => cluster.server.watching === 1)
    const since = cluster.server.requests.length
    await cluster.server.stop()
    for (let n = 100; n < 200; n++)
      await cluster.createNode({ ...peer(1), name: `late${n}`, podCidrs: [`10.244.${n}.0/24`] })
    cluster.server.storage.compact()
    await cluster.server.start()
    await watching.until('all', it => it.lines().length === 102)
    expect(cluster.server.seen('get nodes', since)).toEqual([])
    expect(cluster.server.seen('list nodes', since)).toHaveLength(2)
  })

  it('asks for the podCIDR of a peer that has none until it has one', async () => {
    watch()
    await watching.lines_are([line(1), line(2)])
    await until('the watch', () => cluster.server.watching === 1)
    const { podCidrs, ...without } = peer(3)
    await cluster.createNode(without)
    await watching.until('the problem', it => it.problems().length > 0)
    expect(watching.problems()).toEqual(['n3: no podCIDR is assigned'])
    await cluster.assignPodCidrs('n3', podCidrs)
    await watching.lines_are([line(1), line(2), line(3)])
    expect(watching.problems()).toEqual([])
  })

  it('begins the list again when its continuation is too old', async () => {
    for (let n = 0; n < 600; n++) await cluster.createNode({ name: `other${n}` })
    let compacted = false
    cluster.server.fault = ({ query }) => {
      if (!query.has('continue') || compacted) return undefined
      compacted = true
      return { kind: 'status', status: 410 }
    }
    watch()
    await watching.lines_are([line(1), line(2)])
    expect(cluster.server.seen('list nodes')).toHaveLength(4)
    expect(opened.log.matching(/HTTP 410/)).toHaveLength(1)
  })

  it('takes no error page for an empty list', async () => {
    watch()
    await watching.lines_are([line(1), line(2)])
    const since = cluster.server.requests.length
    cluster.server.fault = ({ action }) => (action === 'list nodes' ? { kind: 'close' } : undefined)
    await cluster.server.stop()
    await cluster.createNode({ name: 'other' })
    cluster.server.storage.compact()
    await cluster.server.start()
    await until('two lists', () => cluster.server.seen('list nodes', since).length >= 2)
    expect(watching.lines()).toEqual([line(1), line(2)])
    cluster.server.fault = () => undefined
    await staysAlive()
  })

  it('starts with the API server away, names the address, and lives through its absence later', async () => {
    const { url } = cluster.server
    await cluster.server.stop()
    watch()
    await until('the log', () => opened.log.lines.length > 0)
    await cluster.server.start()
    await watching.lines_are([line(1), line(2)])
    const trying = 'warn: Cannot list all Nodes, trying again: Cannot watch nodes at'
    expect(opened.log.lines).toEqual([
      `${trying} ${url}: connect ECONNREFUSED ${url.slice('https://'.length)}`,
      expect.stringMatching(/^info: Can list all Nodes again, after \d\.\d s$/),
    ])
    await until('the watch', () => cluster.server.watching === 1)
    const before = watching.changes.length
    await cluster.server.stop()
    await until('the trouble', () => opened.store.health().trouble?.includes('ECONNREFUSED'))
    expect(watching.changes.length).toBe(before)
    await cluster.server.start()
    await staysAlive()
  })

  it('takes a token that was rotated, in a file that ends with a newline', async () => {
    const file = join(cluster.folder, 'token')
    writeFileSync(file, 'first\n')
    cluster.server.tokens = new Set(['first'])
    const kubeconfigFile = cluster.server.writeKubeconfig(join(cluster.folder, 'k'), '{tokenFile: token}')
    opened = openStore(cluster.options('n1', { kubeconfigFile }))
    watching = new Watching(opened.store.watch(opened.signal))
    await until('the watch', () => cluster.server.watching === 1)
    writeFileSync(file, 'second\n')
    cluster.server.tokens = new Set(['second'])
    const since = cluster.server.requests.length
    cluster.server.endWatches()
    await until('the watch', () => cluster.server.watching === 1)
    expect(cluster.server.seen('watch nodes', since).map(({ authorization }) => authorization)).toEqual([
      'Bearer second',
    ])
    await staysAlive()
  })

  it('outlives tokens that are short-lived: each request carries the one that is in the file by then', async () => {
    const file = join(cluster.folder, 'token')
    const written: string[] = []
    const rotate = () => writeFileSync(file, `token-${written.push(`token-${written.length}`) - 1}`)
    rotate()
    watchWithToken(file, { watchForMs: 1_000, watchSilenceMs: 60_000 })
    // A token ends with the second request after it was written: a clock would also measure the machine's load.
    cluster.server.fault = ({ authorization }) => {
      const isValid = written.slice(-2).includes(authorization.replace('Bearer ', ''))
      rotate()
      return isValid ? undefined : { kind: 'status', status: 401 }
    }
    await until('five tokens', () => written.length > 5)
    await staysAlive()
    expect(opened.log.lines).toEqual([])
  })

  it('says of a token that has expired when it did, and continues with the next one', async () => {
    const file = join(cluster.folder, 'token')
    writeFileSync(file, shortLived(-1_000))
    watchWithToken(file)
    await until('the log', () => opened.log.matching(/HTTP 401/).length > 0)
    expect(opened.log.matching(/HTTP 401/)[0]).toMatch(/a bearer token that expired at \d{4}-\S+Z/)
    expect(opened.store.health().trouble).toContain('HTTP 401')
    writeFileSync(file, shortLived(60_000))
    await watching.lines_are([line(1), line(2)])
    await until('no trouble', () => opened.store.health().trouble === undefined)
  })

  it('ends each watch by itself, as it keeps the token that it began with', async () => {
    watch({ watchForMs: 300_000 })
    await until('the watch', () => cluster.server.watching === 1)
    const seconds = Number(cluster.server.seen('watch nodes')[0]?.query.get('timeoutSeconds'))
    expect(seconds).toBeGreaterThanOrEqual(300)
    expect(seconds).toBeLessThanOrEqual(450)
  })

  it.each([
    ['list nodes', 'list', 'nodes'],
    ['watch nodes', 'watch', 'nodes'],
  ])(
    'names the rule that the ClusterRole lacks to %s, and continues once it is there',
    async (rule, verb, resource) => {
      cluster.server.rules.delete(rule)
      watch()
      await until('the log', () => opened.log.matching(/RBAC/).length > 0)
      expect(opened.log.matching(/RBAC/)[0]).toContain(
        `error: Cannot ${verb} all Nodes, trying again: Cannot ${verb} ${resource} at ${cluster.server.url}: HTTP 403, ` +
          `User "test" cannot ${rule} at the cluster scope; RBAC forbids it: add to the rules of this agent's ` +
          `ClusterRole: - {apiGroups: [""], resources: ["${resource}"], verbs: ["${verb}"]}`,
      )
      cluster.server.rules.add(rule)
      await staysAlive()
    },
  )
})
