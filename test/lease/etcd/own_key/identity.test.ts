import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { EtcdLeaseStore } from '../../../../lease/etcd/store.ts'
import type { Lease } from '../../../../lease/lease.ts'
import { parseIp } from '../../../../lease/net/ip.ts'
import { parsePrefix } from '../../../../lease/net/prefix.ts'
import type { LeaseRequest } from '../../../../lease/store.ts'
import { requestOf } from '../../../contract/lease_store.ts'
import { type EtcdServer, startEtcd } from '../../../support/etcd.ts'
import { EtcdBed, fastTuning } from '../../../support/etcd_bed.ts'
import { TcpProxy } from '../../../support/tcp_proxy.ts'
import { until } from '../../../support/until.ts'

const config = '{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}'
const value = (ip: string, mac = '02:00:00:00:00:99') =>
  `{"PublicIP":"${ip}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`

let server: EtcdServer
let bed: EtcdBed
let folder: string
const lives: Life[] = []
beforeAll(async () => {
  server = await startEtcd()
})
afterAll(() => server.remove())
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'twill-identity-'))
  bed = new EtcdBed(server, { ...fastTuning, saveMs: 10, checkMs: 400, askMs: 400 })
  await bed.writeConfig(config)
})
afterEach(async () => {
  for (const life of lives.splice(0)) await life.end()
  await bed.close()
  rmSync(folder, { recursive: true, force: true })
})

/** From one start of an agent to its end. */
interface Life {
  readonly store: EtcdLeaseStore
  readonly lease: Lease
  readonly error: unknown
  /** Gets another address while it runs. */
  renumber(ip: string): Promise<void>
  end(): Promise<void>
}

interface Memory {
  /** Name of the cache file. */
  readonly cache?: string
  readonly subnetFile?: string
  /** Whether the tunnel device of an earlier life is there. */
  readonly device?: boolean
  /** Of etcd, or of a way to it that can be cut. */
  readonly endpoint?: string
}

/** Host `number` has the MAC of that number; its address is given. */
async function start(number: number, ip: string, memory: Memory = {}): Promise<Life> {
  const { cache, subnetFile, device = false, endpoint } = memory
  const store = bed.openNode({
    ...(cache !== undefined && { cacheFile: join(folder, cache) }),
    ...(endpoint !== undefined && { endpoints: [endpoint] }),
  })
  const stop = new AbortController()
  const network = await store.networkConfig(stop.signal)
  const { deviceMacs, ...request } = requestOf(number, network)
  const ask = (at: string): LeaseRequest => ({
    ...request,
    ...(device && deviceMacs && { deviceMacs }),
    publicIps: [parseIp(at)],
    previousSubnets: subnetFile === undefined ? [] : [parsePrefix(subnetFile)],
  })
  const life = {
    store,
    lease: await store.acquire(ask(ip), stop.signal),
    error: undefined as unknown,
    async renumber(to: string) {
      keeping.abort()
      await kept
      life.lease = await store.acquire({ ...ask(to), held: life.lease }, stop.signal)
      keep()
    },
    async end() {
      stop.abort()
      await store.close()
    },
  }
  let keeping = new AbortController()
  let kept: Promise<void> = Promise.resolve()
  const table = store.watch(stop.signal)
  void (async () => {
    for await (const _ of table);
  })().catch(() => {})
  const keep = () => {
    keeping = new AbortController()
    kept = store.keep(life.lease, AbortSignal.any([stop.signal, keeping.signal])).catch(error => {
      life.error = error
    })
  }
  keep()
  lives.push(life)
  return life
}

const read = (node: string) => server.ctl('get', '--print-value-only', bed.key(node))
const holds = (node: string, ip: string) =>
  until(`${node} to hold ${ip}`, async () => (await read(node)).includes(`"${ip}"`))
/** Another node's, which runs out as all leases do. */
async function leave(node: string, text: string): Promise<void> {
  const id = /lease (\w+) granted/.exec(await server.ctl('lease', 'grant', '600'))?.[1] ?? ''
  await bed.writeLease(node, text, '--lease', id)
}
async function leaseOf(node: string): Promise<string> {
  return /"lease":(\d+)/.exec(await server.ctl('get', '-w', 'json', bed.key(node)))?.[1] ?? '0'
}

describe('a running node', () => {
  test('that gets the address of a node that is off keeps its key, and that of the other stays', async () => {
    await leave('10.1.5.0-24', value('192.168.0.5'))
    const node = await start(7, '192.168.0.7', { subnetFile: '10.1.77.0/24' })
    await node.renumber('192.168.0.5')
    await holds('10.1.77.0-24', '192.168.0.5')
    expect(await read('10.1.5.0-24')).toBe(`${value('192.168.0.5')}\n`)
    expect([...(await bed.keys())].sort()).toEqual(['10.1.5.0-24', '10.1.77.0-24'])
    expect(node.error).toBeUndefined()
    expect(node.store.health().conflict).toBeUndefined()
  })

  test('keeps its key while an address moves from it to another running node and back, also with an overlap', async () => {
    const a = await start(1, '192.168.0.100', { subnetFile: '10.1.1.0/24' })
    const b = await start(2, '192.168.0.2', { subnetFile: '10.1.2.0/24' })
    await b.renumber('192.168.0.100')
    await holds('10.1.2.0-24', '192.168.0.100')
    await a.renumber('192.168.0.1')
    await holds('10.1.1.0-24', '192.168.0.1')
    await b.renumber('192.168.0.2')
    await a.renumber('192.168.0.100')
    await holds('10.1.1.0-24', '192.168.0.100')
    expect(await bed.keys()).toEqual(['10.1.1.0-24', '10.1.2.0-24'])
    expect([a.error, b.error]).toEqual([undefined, undefined])
    await until('no conflict', () => a.store.health().conflict ?? b.store.health().conflict ?? true)
  })

  test('that lost its key does not take it back when it gets the address of the new holder', async () => {
    const node = await start(7, '192.168.0.7', { subnetFile: '10.1.77.0/24' })
    await holds('10.1.77.0-24', '192.168.0.7')
    const other = value('192.168.0.66')
    await leave('10.1.77.0-24', other)
    const loss = await until('the loss', () => node.error)
    await node.renumber('192.168.0.66')
    await until('the same loss', () => node.error !== loss)
    expect(String(node.error)).toContain('was taken by 10.1.77.0/24 at 192.168.0.66')
    expect(await read('10.1.77.0-24')).toBe(`${other}\n`)
  })

  test('whose key a host with its public IP took while etcd did not hear it leaves the key to that host', async () => {
    const way = await TcpProxy.open(Number(new URL(server.endpoint).port))
    const first = await start(1, '192.168.0.7', {
      subnetFile: '10.1.77.0/24',
      endpoint: `http://127.0.0.1:${way.port}`,
    })
    await holds('10.1.77.0-24', '192.168.0.7')
    const { port } = way
    way.close()
    await bed.removeLease('10.1.77.0-24')
    const second = await start(2, '192.168.0.7', { subnetFile: '10.1.77.0/24' })
    expect(second.lease.node).toBe('10.1.77.0-24')
    const again = await TcpProxy.open(Number(new URL(server.endpoint).port), port)
    await until('the first to see the loss', () => first.error)
    expect(String(first.error)).toContain('was taken by a host with our public IP, whose agent runs')
    expect(await read('10.1.77.0-24')).toContain(':00:02')
    expect(second.error).toBeUndefined()
    again.close()
  })

  test('whose key another program keeps writing names it until that ends', async () => {
    const node = await start(7, '192.168.0.7', { subnetFile: '10.1.77.0/24' })
    const ours = await read('10.1.77.0-24')
    const conflict =
      /10\.1\.77\.0-24 was rewritten by another program, \d+ times in the last \d+ s, last as .*:66/
    // A write counts as repeated only if it comes soon after the one before: a busy machine needs more of them.
    await until('the conflict', async () => {
      await leave('10.1.77.0-24', value('192.168.0.7', '02:00:00:00:00:66'))
      await until('our value', async () => (await read('10.1.77.0-24')) === ours)
      return conflict.test(node.store.health().conflict ?? '')
    })
    await until('the end of it', () => node.store.health().conflict === undefined)
    expect(node.error).toBeUndefined()
  })

  test('whose key is overwritten with garbage that never runs out writes it again as a lease', async () => {
    const node = await start(7, '192.168.0.7', { subnetFile: '10.1.77.0/24' })
    const ours = await read('10.1.77.0-24')
    const strays = [
      'garbage',
      '',
      '{}',
      '[]',
      'null',
      '"10.1.77.0"',
      ours.slice(0, 40),
      '['.repeat(5_000),
      JSON.stringify({ ...JSON.parse(ours), more: 'x'.repeat(100_000) }),
      '{"PublicIP":"0.0.0.0","PublicIPv6":null}',
      value('192.168.0.7', '02:00:00:00:00:66'),
    ]
    for (const stray of strays) {
      await bed.writeLease('10.1.77.0-24', stray)
      await until('our value', async () => (await read('10.1.77.0-24')) === ours)
      expect(await leaseOf('10.1.77.0-24'), stray.slice(0, 60)).not.toBe('0')
    }
    expect(bed.log.said('reservation')).toEqual([])
    expect(node.error).toBeUndefined()
  })

  test("whose key is overwritten with a copy of a peer's lease writes its own again, and the peer's stays", async () => {
    const node = await start(7, '192.168.0.7', { subnetFile: '10.1.77.0/24' })
    const peer = await start(8, '192.168.0.8', { subnetFile: '10.1.88.0/24' })
    await holds('10.1.77.0-24', '192.168.0.7')
    await holds('10.1.88.0-24', '192.168.0.8')
    const [ours, theirs] = [await read('10.1.77.0-24'), await read('10.1.88.0-24')]
    const conflict = /was rewritten by another program, \d+ times .* last as .*192\.168\.0\.8/
    await until('the conflict', async () => {
      await bed.writeLease('10.1.77.0-24', theirs.trim())
      // As the peer does, which asks whether another host has its public IP, and renews its own.
      await bed.server.ctl('put', '--ignore-value', '--ignore-lease', bed.key('10.1.77.0-24'))
      await bed.server.ctl('put', '--ignore-value', '--ignore-lease', bed.key('10.1.88.0-24'))
      await until('our value', async () => (await read('10.1.77.0-24')) === ours)
      expect(await leaseOf('10.1.77.0-24')).not.toBe('0')
      return conflict.test(node.store.health().conflict ?? '')
    })
    expect(await read('10.1.88.0-24')).toBe(theirs)
    expect([node.error, peer.error]).toEqual([undefined, undefined])
  })

  test("whose key got a peer's lease leaves it where it was written with an etcd lease", async () => {
    const node = await start(7, '192.168.0.7', { subnetFile: '10.1.77.0/24' })
    await holds('10.1.77.0-24', '192.168.0.7')
    await leave('10.1.88.0-24', value('192.168.0.8'))
    await leave('10.1.77.0-24', value('192.168.0.8'))
    await until('the loss', () => node.error)
    expect(await read('10.1.77.0-24')).toBe(`${value('192.168.0.8')}\n`)
  })

  test('whose lease is written by hand without an etcd lease has a reservation, however it is spaced', async () => {
    const node = await start(7, '192.168.0.7', { subnetFile: '10.1.77.0/24' })
    const ours = await read('10.1.77.0-24')
    const fields = Object.entries(JSON.parse(ours)).reverse()
    await bed.writeLease('10.1.77.0-24', JSON.stringify(Object.fromEntries(fields), undefined, 2))
    await until('our value', async () => (await read('10.1.77.0-24')) === ours)
    expect(await leaseOf('10.1.77.0-24')).toBe('0')
    expect(bed.log.said('has become a reservation')).toHaveLength(1)
    expect(node.error).toBeUndefined()
  })
})

describe('a start', () => {
  test('has its own subnet again though an older key of another carries its public IP', async () => {
    await leave('10.1.5.0-24', value('192.168.0.7'))
    const first = await start(7, '192.168.0.7', { subnetFile: '10.1.77.0/24', cache: 'a' })
    expect(first.lease.node).toBe('10.1.77.0-24')
    await first.end()
    for (const memory of [{ cache: 'a' }, { subnetFile: '10.1.77.0/24' }, { device: true }]) {
      const again = await start(7, '192.168.0.7', memory)
      expect(again.lease.node, Object.keys(memory)[0]).toBe('10.1.77.0-24')
      await again.end()
    }
    expect(await read('10.1.5.0-24')).toBe(`${value('192.168.0.7')}\n`)
  })

  test.each([
    ['its cache', { cache: 'a' }],
    ['its device', { device: true }],
    ['its device and subnet.env', { device: true, subnetFile: '10.1.77.0/24' }],
  ])('under another address has its own subnet by %s', async (_, memory) => {
    const first = await start(7, '192.168.0.7', { subnetFile: '10.1.77.0/24', cache: 'a' })
    await holds('10.1.77.0-24', '192.168.0.7')
    await first.end()
    const again = await start(7, '192.168.0.8', memory)
    expect(again.lease.node).toBe('10.1.77.0-24')
    await holds('10.1.77.0-24', '192.168.0.8')
    expect(await bed.keys()).toEqual(['10.1.77.0-24'])
  })

  test('has its own subnet again under a new address, while another host lives under the old one', async () => {
    const first = await start(1, '192.168.0.1', { subnetFile: '10.1.77.0/24', device: true })
    const other = await start(2, '192.168.0.2', { subnetFile: '10.1.78.0/24', device: true })
    await first.end()
    await other.renumber('192.168.0.1')
    const again = await start(1, '192.168.0.9', { subnetFile: '10.1.77.0/24', device: true })
    expect(again.lease.node).toBe('10.1.77.0-24')
    await holds('10.1.77.0-24', '192.168.0.9')
    await holds('10.1.78.0-24', '192.168.0.1')
  })

  test('that remembers nothing takes up the lease of its address where the writer does not answer', async () => {
    await leave('10.1.5.0-24', value('192.168.0.7'))
    const node = await start(7, '192.168.0.7')
    expect(node.lease.node).toBe('10.1.5.0-24')
  })

  test('under the address of a running host gets another subnet, and both name the other', async () => {
    const first = await start(1, '192.168.0.7', { subnetFile: '10.1.77.0/24' })
    const second = await start(2, '192.168.0.7')
    expect(second.lease.node).not.toBe('10.1.77.0-24')
    expect(bed.log.said('Left')).toEqual([
      expect.stringContaining('10.1.77.0/24 at 192.168.0.7, VTEP MAC 02:00:00:00:00:01'),
    ])
    await until('the second to name the first', () => second.store.health().conflict?.includes(':00:01'))
    await until('the first to name the second', () => first.store.health().conflict?.includes(':00:02'))
    expect(await read('10.1.77.0-24')).toContain(':00:01')
    await second.end()
    await until('the first to be content', () => first.store.health().conflict === undefined)
    expect(first.error).toBeUndefined()
  })

  test('of a machine that was cloned, cache and all, leaves the subnet to the one that runs', async () => {
    const first = await start(1, '192.168.0.7', { cache: 'a' })
    await holds(first.lease.node, '192.168.0.7')
    await first.end()
    copyFileSync(join(folder, 'a'), join(folder, 'b'))
    copyFileSync(join(folder, 'a'), join(folder, 'c'))
    const original = await start(1, '192.168.0.7', { cache: 'a', device: true })
    const clone = await start(2, '192.168.0.7', { cache: 'b' })
    const renumbered = await start(3, '192.168.0.9', { cache: 'c' })
    expect(original.lease.node).toBe(first.lease.node)
    expect(new Set([original, clone, renumbered].map(({ lease }) => lease.node)).size).toBe(3)
    expect(original.error).toBeUndefined()
    expect(await read(first.lease.node)).toContain(':00:01')
  })

  test('leaves its subnet to a node that was given it meanwhile', async () => {
    const first = await start(1, '192.168.0.1', { subnetFile: '10.1.77.0/24', cache: 'a' })
    await first.end()
    await bed.removeLease('10.1.77.0-24')
    await leave('10.1.77.0-24', value('192.168.0.66'))
    const again = await start(1, '192.168.0.1', { subnetFile: '10.1.77.0/24', cache: 'a', device: true })
    expect(again.lease.node).not.toBe('10.1.77.0-24')
    expect(await read('10.1.77.0-24')).toBe(`${value('192.168.0.66')}\n`)
  })
})

describe('a key that could not be a lease of this network', () => {
  test('takes nothing from the pool, and one that could is named where nothing is left', async () => {
    await bed.writeConfig(
      '{"Network":"10.1.0.0/16","SubnetLen":24,"SubnetMin":"10.1.4.0","SubnetMax":"10.1.5.0"}',
    )
    for (const key of ['10.0.0.0-8', '10.1.0.0-16', '10.1.0.0-17']) await bed.writeLease(key, 'garbage')
    const node = await start(7, '192.168.0.7')
    expect(node.lease.node).toMatch(/^10\.1\.[45]\.0-24$/)
    await node.end()
    await bed.removeLease(node.lease.node)
    await bed.writeLease('10.1.4.0-23', value('192.168.0.66'))
    const store = bed.openNode()
    const stop = new AbortController()
    const network = await store.networkConfig(stop.signal)
    store.acquire(requestOf(7, network), stop.signal).catch(() => {})
    await until('it to wait', () => store.health().trouble?.includes('out of subnets'))
    expect(store.health().trouble).toContain(
      `the widest of them is ${bed.key('10.1.4.0-23')}, of 10.1.4.0/23 at 192.168.0.66`,
    )
    stop.abort()
  })
})
