import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { defaultTuning } from '../../../lease/etcd/client/tuning.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { follow, requestOf } from '../../contract/lease_store.ts'
import { type EtcdServer, type EtcdServerOptions, startEtcd } from '../../support/etcd.ts'
import { EtcdBed, fastTuning } from '../../support/etcd_bed.ts'
import { EtcdNode } from '../../support/etcd_node.ts'
import { TcpProxy } from '../../support/tcp_proxy.ts'
import { until } from '../../support/until.ts'

const peer = (ip: string) => `{"PublicIP":"${ip}","PublicIPv6":null,"BackendType":"vxlan"}`
const config = '{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}'

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** A server of its own with a network config. */
async function start(options: EtcdServerOptions = {}, tuning = fastTuning): Promise<EtcdBed> {
  const server = await startEtcd(options)
  cleanUps.push(() => server.remove())
  const bed = new EtcdBed(server, tuning)
  cleanUps.push(() => bed.close())
  await bed.writeConfig(config)
  return bed
}

async function startNode(bed: EtcdBed, number: number, ...previous: string[]): Promise<EtcdNode> {
  const node = new EtcdNode(bed, number)
  cleanUps.push(() => node.stop())
  return node.start(...previous)
}

/** Calls in at least that time, and how long it really was: a timer of a busy machine may fire late. */
async function calls(node: EtcdNode, duringMs: number): Promise<{ count: number; seconds: number }> {
  const [before, began] = [node.store.calls, performance.now()]
  await new Promise(resolve => setTimeout(resolve, duringMs))
  return { count: node.store.calls - before, seconds: (performance.now() - began) / 1_000 }
}

describe('etcd that is away', () => {
  test('costs no more calls than the back-off says, and everything continues when it is back', async () => {
    const bed = await start({}, { ...fastTuning, firstRetryMs: 100, lastRetryMs: 1_000 })
    const [a, b] = [await startNode(bed, 1), await startNode(bed, 2)]
    await a.tables?.until(table => table.size === 2)
    await bed.server.stop('SIGKILL')
    await until('the trouble to show', () => a.store.health().trouble?.includes('ECONNREFUSED'))
    expect(a.store.health().trouble).toBe(
      `etcd at ${bed.server.endpoint}: connect ECONNREFUSED 127.0.0.1:${bed.server.port}`,
    )
    // Three loops (own key, its watch, the peers), each with waits of 0.5 to 1 s once the back-off is full.
    await calls(a, 2_000)
    const { count, seconds } = await calls(a, 4_000)
    expect(count).toBeLessThanOrEqual(3 * 2 * seconds + 3)
    const before = a.store.calls
    await until('more tries', () => a.store.calls > before + 3)
    expect(bed.log.said(/^Cannot .*ECONNREFUSED/).length).toBe(2)
    expect(a.known.length).toBe(2)
    await bed.server.restart()
    const c = await startNode(bed, 3)
    await a.tables?.until(table => table.has(c.lease?.node ?? ''))
    await until('no trouble', () => a.store.health().trouble === undefined)
    expect([a.lost, b.lost]).toEqual([undefined, undefined])
    expect(a.known.length).toBe(3)
  })

  test('shows in the log once for each cause while three endpoints take turns', async () => {
    const bed = await start()
    const endpoints = [bed.server.endpoint, 'http://127.0.0.1:1', 'http://127.0.0.1:2']
    const node = new EtcdNode(bed, 1, { endpoints })
    cleanUps.push(() => node.stop())
    await node.start()
    await bed.server.stop('SIGKILL')
    await calls(node, 4_000)
    // An endpoint may be cut off first and refuse later: two causes, a line each.
    const said = bed.log.said(/^Cannot .*, trying again: /)
    expect(said.length).toBeGreaterThan(0)
    expect(said).toEqual([...new Set(said)])
    expect(node.store.health().trouble).toMatch(
      /^etcd at http:\/\/127\.0\.0\.1:\d+: (connect ECONNREFUSED|no connection could be made)/,
    )
  })

  test('by a frozen process is noticed by pings, within 15 s by default, and is over soon after it thaws', async () => {
    const bed = await start({}, { checkMs: 600_000 })
    const node = await startNode(bed, 1)
    await until('quiet', async () => (await calls(node, 300)).count === 0)
    expect(defaultTuning.keepaliveMs + defaultTuning.keepaliveTimeoutMs).toBeLessThan(15_000)
    bed.server.pause()
    await until('the trouble to show', () => node.store.health().trouble)
    expect(node.store.health().trouble).toContain(`etcd at ${bed.server.endpoint}: `)
    bed.server.resume()
    await bed.writeLease('10.1.200.0-24', '{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"vxlan"}')
    await node.tables?.until(table => table.has('10.1.200.0-24'))
    expect(node.lost).toBeUndefined()
  })

  test('loses no event of the time without a connection', async () => {
    const bed = await start()
    const node = await startNode(bed, 1)
    const gone = await startNode(bed, 2)
    await node.tables?.until(table => table.size === 2)
    await gone.stop()
    await bed.server.stop('SIGKILL')
    await until('the trouble to show', () => node.store.health().trouble)
    await bed.server.restart()
    await bed.removeLease(gone.lease?.node ?? '')
    // A node draws its own from the 100 lowest that are free.
    for (let i = 120; i < 140; i++)
      await bed.writeLease(
        `10.1.${i}.0-24`,
        `{"PublicIP":"1.2.3.${i}","PublicIPv6":null,"BackendType":"vxlan"}`,
      )
    await node.tables?.until(table => table.size === 21 && !table.has(gone.lease?.node ?? ''), 60_000)
  })
})

describe('etcd that is slow', () => {
  test('by less than the deadline is only slow', async () => {
    const bed = await start()
    const proxy = await TcpProxy.open(bed.server.port)
    cleanUps.push(async () => proxy.close())
    proxy.delayMs = 300
    const node = new EtcdNode(bed, 1, { endpoints: [`http://127.0.0.1:${proxy.port}/`] })
    cleanUps.push(() => node.stop())
    await node.start()
    await bed.removeLease(node.lease?.node ?? '')
    await until('the key to be back', async () => (await bed.keys()).length === 1)
    expect(bed.log.said('Cannot')).toEqual([])
  })

  test('beyond the deadline is trouble, costs a call a deadline, and leaves the watch alone', async () => {
    const bed = await start(
      {},
      { ...fastTuning, callTimeoutMs: 600, checkMs: 100, relistAfterBreakMs: 60_000 },
    )
    const proxy = await TcpProxy.open(bed.server.port)
    cleanUps.push(async () => proxy.close())
    const node = new EtcdNode(bed, 1, { endpoints: [`http://127.0.0.1:${proxy.port}`] })
    cleanUps.push(() => node.stop())
    await node.start()
    await bed.writeLease('10.1.199.0-24', '{"PublicIP":"1.2.3.3","PublicIPv6":null,"BackendType":"vxlan"}')
    await node.tables?.until(table => table.size === 2)
    proxy.delayMs = 700
    await until('the trouble to show', () => node.store.health().trouble?.endsWith('no answer in time'))
    // Three loops at most, each a call of 0.6 s and a wait of at least 0.2 s.
    const { count, seconds } = await calls(node, 3_000)
    expect(count).toBeLessThanOrEqual(3 * Math.ceil(seconds / 0.8))
    await bed.writeLease('10.1.200.0-24', '{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"vxlan"}')
    await node.tables?.until(table => table.size === 3)
    proxy.delayMs = 0
    await until('no trouble', () => node.store.health().trouble === undefined)
    expect(node.lost).toBeUndefined()
  })
})

test('connections that are made again on our own wish are no trouble, and lose no event', async () => {
  const bed = await start()
  const node = await startNode(bed, 1)
  for (let i = 0; i < 3; i++) {
    node.store.reconnect()
    await bed.writeLease(`10.1.20${i}.0-24`, peer('1.2.3.4'))
    node.store.reconnect()
    await node.tables?.until(table => table.size === 2 + i)
  }
  expect(bed.log.said('Cannot')).toEqual([])
  expect(node.lost).toBeUndefined()
})

describe('a compaction', () => {
  test('while the watch is away leads to one new listing, and to no loop', async () => {
    const bed = await start(
      {},
      { ...fastTuning, firstRetryMs: 1_500, lastRetryMs: 1_500, relistAfterBreakMs: 60_000 },
    )
    const node = await startNode(bed, 1)
    expect(node.store.health().watchRestarts).toBe(0)
    await bed.server.stop('SIGKILL')
    await until('the trouble to show', () => node.store.health().trouble)
    await bed.server.restart()
    for (let i = 120; i < 130; i++)
      await bed.writeLease(
        `10.1.${i}.0-24`,
        `{"PublicIP":"1.2.3.${i}","PublicIPv6":null,"BackendType":"vxlan"}`,
      )
    const { revision } = (
      JSON.parse(await bed.server.ctl('get', '-w', 'json', '/')) as { header: { revision: number } }
    ).header
    await bed.server.ctl('compact', '--physical', String(revision))
    await node.tables?.until(table => table.size === 11)
    await bed.writeLease('10.1.200.0-24', '{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"vxlan"}')
    await node.tables?.until(table => table.size === 12)
    expect(bed.log.said('behind a compaction').length).toBeLessThanOrEqual(1)
    expect(node.store.health().watchRestarts).toBeGreaterThanOrEqual(1)
    const { count, seconds } = await calls(node, 1_500)
    expect(count).toBeLessThanOrEqual(8 * Math.ceil(seconds / 1.5))
    expect(node.lost).toBeUndefined()
  })
})

describe('a database that is full', () => {
  test('is said with its remedy; peers are still watched, and the claim goes through once there is space', async () => {
    const bed = await start({ flags: ['--quota-backend-bytes=2097152'] })
    const node = await startNode(bed, 1)
    const big = 'x'.repeat(100_000)
    for (let i = 0; i < 100; i++)
      if (
        await bed.server.ctl('put', '/filler', big).then(
          () => false,
          () => true,
        )
      )
        break
    const late = new EtcdNode(bed, 2)
    cleanUps.push(() => late.stop())
    const starting = late.start()
    await until('the trouble to show', () => late.store.health().trouble?.includes('space'))
    expect(late.store.health().trouble).toBe(
      `etcd at ${bed.server.endpoint}: mvcc: database space exceeded (compact and defragment it, then \`etcdctl alarm disarm\`)`,
    )
    expect(node.known).toEqual([node.lease?.node])
    // A grant goes through where a write does not: it is kept for the next try.
    const before = late.store.calls
    await until('some more tries', () => late.store.calls > before + 12)
    expect((await bed.server.ctl('lease', 'list')).match(/^[0-9a-f]+$/gm)?.length).toBeLessThanOrEqual(2)
    const text = await bed.server.ctl('get', '-w', 'json', '/')
    await bed.server.ctl('compact', /"revision":(\d+)/.exec(text)?.[1] ?? '')
    await bed.server.ctl('defrag')
    await bed.server.ctl('alarm', 'disarm')
    await starting
    await node.tables?.until(table => table.size === 2)
    expect(late.store.health().trouble).toBeUndefined()
  })
})

describe('etcd that lost its data', () => {
  test('gets the leases back, and no node loses a peer meanwhile', async () => {
    const bed = await start()
    const nodes = await Promise.all([1, 2, 3, 4].map(n => startNode(bed, n)))
    await Promise.all(nodes.map(node => node.tables?.until(table => table.size === 4)))
    const before = nodes.map(node => node.lease?.node).sort()
    let smallest = 4
    const looking = setInterval(() => {
      for (const node of nodes) smallest = Math.min(smallest, node.known.length)
    }, 1)
    await bed.server.restart({ fresh: true })
    await until('all keys to be back', async () => (await bed.keys()).length === 4)
    clearInterval(looking)
    expect([...(await bed.keys())].sort()).toEqual(before)
    expect(smallest).toBe(4)
    expect(nodes.map(node => node.lost)).toEqual([undefined, undefined, undefined, undefined])
    expect(bed.log.said(/^etcd has lost its data: its revision went back from \d+ to \d+/).length).toBe(4)
  })

  test('while a node starts that remembers its subnet by subnet.env alone gives it that subnet', async () => {
    const bed = await start()
    await (await startNode(bed, 1, '10.1.77.0/24')).stop()
    const store = bed.openNode()
    const stop = new AbortController()
    cleanUps.push(async () => stop.abort())
    const network = await store.networkConfig(stop.signal)
    await follow(store, stop.signal).until(table => table.has('10.1.77.0-24'))
    await bed.server.restart({ fresh: true })
    await until('the loss to be seen', () => bed.log.said('etcd has lost its data').length > 0)
    await bed.writeConfig(config)
    const previousSubnets = [parsePrefix('10.1.77.0/24')]
    const { deviceMacs, ...request } = requestOf(1, network)
    const lease = await store.acquire({ ...request, previousSubnets }, stop.signal)
    expect(lease.node).toBe('10.1.77.0-24')
  })

  test('is not believed about a peer that is silent, until the grace is over', async () => {
    const graceMs = 30_000
    const bed = await start({}, { ...fastTuning, graceMs })
    const node = await startNode(bed, 1)
    const silent = await startNode(bed, 2)
    await node.tables?.until(table => table.size === 2)
    await silent.stop()
    await bed.server.restart({ fresh: true })
    await until('the loss to be seen', () => bed.log.said('etcd has lost its data').length > 0)
    const seenAt = bed.log.lines.find(line => line.message.startsWith('etcd has lost its data'))?.at ?? 0
    await until('our key to be back', async () => (await bed.keys()).length === 1)
    expect(node.known.length).toBe(2)
    await node.tables?.until(table => table.size === 1, 90_000)
    expect(performance.now() - seenAt).toBeGreaterThan(graceMs - 100)
    expect(node.known).toEqual([node.lease?.node])
  })

  test('and gave a peer’s subnet to another node is believed at once', async () => {
    const bed = await start()
    const node = await startNode(bed, 1)
    const silent = await startNode(bed, 2, '10.1.177.0/24')
    await node.tables?.until(table => table.size === 2)
    await silent.stop()
    await bed.server.restart({ fresh: true })
    await until('the loss to be seen', () => bed.log.said('etcd has lost its data').length > 0)
    await bed.writeConfig(config)
    const other = await startNode(bed, 3, '10.1.177.0/24')
    await node.tables?.until(table => table.get('10.1.177.0-24')?.subnets[0]?.publicIp === '192.168.0.3')
    expect(other.lease?.node).toBe('10.1.177.0-24')
    expect(node.known.length).toBe(2)
  })

  test.each([
    ['behind what is known', 0],
    ['beyond what is known, others having written meanwhile', 30],
  ])(
    'to an older snapshot that is %s is noticed by all: no peer is dropped, all claim again',
    async (_, writes) => {
      const bed = await start()
      const proxy = await TcpProxy.open(bed.server.port)
      cleanUps.push(async () => proxy.close())
      const endpoints = [`http://127.0.0.1:${proxy.port}`]
      const [a, b] = [new EtcdNode(bed, 1, { endpoints }), new EtcdNode(bed, 2, { endpoints })]
      for (const node of [a, b]) cleanUps.push(() => node.stop())
      for (const node of [a, b]) await node.start()
      await a.tables?.until(table => table.size === 2)
      // Long after the last answer to a call; only the watches hear of these.
      const file = join(bed.server.dataDir, '..', `${basename(bed.server.dataDir)}.snapshot`)
      cleanUps.push(() => rm(file, { force: true }))
      for (let i = 0; i < 5; i++) await bed.server.ctl('put', bed.key('10.1.199.0-24'), peer('1.2.3.9'))
      await bed.server.snapshot(file)
      await bed.writeLease('10.1.200.0-24', peer('1.2.3.4'))
      await bed.writeLease('10.1.201.0-24', peer('1.2.3.5'))
      for (const node of [a, b]) await node.tables?.until(table => table.size === 5)
      proxy.delayMs = 10_000
      await bed.server.restore(file)
      for (let i = 0; i < writes; i++) await bed.server.ctl('put', '/filler', String(i))
      proxy.delayMs = 0
      await until('both to see it', () => bed.log.said('etcd has lost its data').length === 2)
      await bed.writeLease('10.1.202.0-24', peer('1.2.3.6'))
      for (const node of [a, b]) await node.tables?.until(table => table.has('10.1.202.0-24'))
      for (const node of [a, b]) expect(node.known).toHaveLength(6)
      expect([a.lost, b.lost]).toEqual([undefined, undefined])
    },
  )

  test('and is another cluster now is noticed by its id, even where its revision is higher', async () => {
    const bed = await start()
    const node = await startNode(bed, 1)
    const other: EtcdServer = await startEtcd()
    cleanUps.push(() => other.remove())
    for (let i = 0; i < 30; i++) await other.ctl('put', '/filler', String(i))
    const two = new EtcdNode(
      bed,
      2,
      { endpoints: [bed.server.endpoint, other.endpoint] },
      { random: () => 0.5 },
    )
    cleanUps.push(() => two.stop())
    await two.start()
    await two.tables?.until(table => table.size === 2)
    await bed.server.stop('SIGKILL')
    await until('our key in the other cluster', async () => {
      const text = await other.ctl('get', '--prefix', '--keys-only', bed.key(''))
      return text.includes(two.lease?.node ?? '-')
    })
    expect(two.known).toEqual([node.lease?.node, two.lease?.node].sort())
    expect(bed.log.said(/^etcd has lost its data: its cluster is \d+ and was \d+/).length).toBe(1)
  })
})
