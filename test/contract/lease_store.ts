import { setMaxListeners } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { vtepOf } from '../../lease/backend_data.ts'
import { type Lease, type LeaseTableChange, printLease } from '../../lease/lease.ts'
import { type Ip, parseIp } from '../../lease/net/ip.ts'
import { parseMac } from '../../lease/net/mac.ts'
import { type Prefix, parsePrefix } from '../../lease/net/prefix.ts'
import { NetworkConfigError } from '../../lease/network_config/network_config.ts'
import { LeaseLostError, type LeaseRequest, type LeaseStore } from '../../lease/store.ts'
import { vtep } from '../support/leases.ts'
import { until } from '../support/until.ts'

/** One store that several nodes share, and what an operator or a fault does to it. Recreated for each test. */
export interface StoreBed {
  /** Another node of the same store; closed with the bed. */
  openNode(): LeaseStore
  writeConfig(text: string): Promise<void>
  /** As when it ran out, or an operator deleted it. */
  removeLease(node: string): Promise<void>
  /** Puts a value under a subnet key, also one that is taken. */
  writeLease(node: string, value: string): Promise<void>
  /** From now on no call is answered, until `recover`. */
  fail(): Promise<void>
  recover(): Promise<void>
  close(): Promise<void>
}

const config = '{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}'
const dualConfig =
  '{"Network":"10.1.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:1::/48","Backend":{"Type":"vxlan"}}'
const sixConfig =
  '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:1::/48","Backend":{"Type":"vxlan"}}'
/** Four subnets, the first of which is skipped. */
const tinyConfig = '{"Network":"10.1.0.0/22","SubnetLen":24,"Backend":{"Type":"vxlan"}}'

/** What every store promises whose nodes choose their own subnets. */
export function describeLeaseStore(name: string, makeBed: () => Promise<StoreBed>): void {
  describe(`${name} as a lease store`, () => {
    let bed: StoreBed
    let stop: AbortController
    beforeEach(async () => {
      bed = await makeBed()
      stop = new AbortController()
      setMaxListeners(0, stop.signal) // many nodes share it
    })
    afterEach(async () => {
      stop.abort(new Error('the test is over'))
      await bed.close()
    })

    /** What node number n asks for. */
    const ask = async (store: LeaseStore, n: number, more: Partial<LeaseRequest> = {}) => {
      const network = await store.networkConfig(stop.signal)
      return { ...requestOf(n, network), ...more } as LeaseRequest
    }
    const join = async (n: number, more: Partial<LeaseRequest> = {}) => {
      const store = bed.openNode()
      return { store, lease: await store.acquire(await ask(store, n, more), stop.signal) }
    }

    describe('the network config', () => {
      test('is waited for, and read as soon as it appears', async () => {
        const waiting = bed.openNode().networkConfig(stop.signal)
        expect(await isPending(waiting)).toBe(true)
        await bed.writeConfig(config)
        expect((await waiting).families.map(family => family.network)).toEqual(['10.1.0.0/16'])
      })

      test('is refused when it breaks a rule, with the rule', async () => {
        await bed.writeConfig('{"Network":"10.1.0.0/30"}')
        await expect(bed.openNode().networkConfig(stop.signal, { onInvalid: 'reject' })).rejects.toThrow(
          NetworkConfigError,
        )
      })

      test('is waited for until the signal aborts, with its reason', async () => {
        const waiting = bed.openNode().networkConfig(stop.signal)
        waiting.catch(() => {})
        stop.abort(new Error('enough'))
        await expect(waiting).rejects.toThrow('enough')
      })
    })

    describe('acquiring', () => {
      test('gives a subnet of the network, with the data that was asked to be published', async () => {
        await bed.writeConfig(config)
        const { lease } = await join(7)
        expect(lease.node).toMatch(/^10\.1\.\d+\.0-24$/)
        expect(lease.backendType).toBe('vxlan')
        expect(lease.subnets).toEqual([
          {
            prefix: parsePrefix(lease.node.replace('-', '/')),
            publicIp: '192.168.0.7',
            backendData: vtep('02:00:00:00:00:07'),
          },
        ])
      })

      test('gives one subnet a family, in one lease', async () => {
        await bed.writeConfig(dualConfig)
        const { lease } = await join(7)
        expect(lease.subnets.map(subnet => subnet.publicIp)).toEqual(['192.168.0.7', 'fd00:aa::7'])
        expect(printLease(lease)).toMatch(
          /^10\.1\.\d+\.0\/24 \+ fd00:1:0:[0-9a-f]+::\/64 at 192\.168\.0\.7 \+ fd00:aa::7$/,
        )
      })

      test('gives an IPv6 subnet where there is no IPv4, to several nodes', async () => {
        await bed.writeConfig(sixConfig)
        const leases = await Promise.all([join(1), join(2), join(3)])
        expect(new Set(leases.map(({ lease }) => lease.subnets[0]?.prefix)).size).toBe(3)
        const again = await join(2)
        expect(again.lease.subnets).toEqual(leases[1]?.lease.subnets)
      })

      test('gives the same subnet again after a restart, and tells what was published before', async () => {
        await bed.writeConfig(config)
        const first = await join(7)
        const published: (Lease | undefined)[] = []
        const backendData = (previous: Lease | undefined) => {
          published.push(previous)
          return [vtep('02:00:00:00:00:99')]
        }
        const second = await join(7, { backendData })
        expect(second.lease.node).toBe(first.lease.node)
        expect(second.lease.since).toBe(first.lease.since)
        expect(published.at(-1)).toEqual(first.lease)
        expect(second.lease.subnets[0]?.backendData).toEqual(vtep('02:00:00:00:00:99'))
      })

      test('gives the subnet of an earlier life where it is free', async () => {
        await bed.writeConfig(config)
        const { lease } = await join(7, { previousSubnets: [parsePrefix('10.1.77.0/24')] })
        expect(lease.node).toBe('10.1.77.0-24')
      })

      test('gives another one where another node has it, or where it lies outside of the network', async () => {
        await bed.writeConfig(config)
        await join(1, { previousSubnets: [parsePrefix('10.1.77.0/24')] })
        const taken = await join(2, { previousSubnets: [parsePrefix('10.1.77.0/24')] })
        const outside = await join(3, { previousSubnets: [parsePrefix('10.9.77.0/24')] })
        expect(taken.lease.node).not.toBe('10.1.77.0-24')
        expect(outside.lease.node).toMatch(/^10\.1\./)
      })

      test('gives a subnet of the new network and lets the old one go when the network config changed', async () => {
        await bed.writeConfig(config)
        const before = await join(7)
        await bed.writeConfig('{"Network":"10.2.0.0/16","Backend":{"Type":"vxlan"}}')
        const after = await join(7)
        expect(after.lease.node).toMatch(/^10\.2\./)
        const { table } = await firstTable(after.store, stop.signal)
        expect([...table.keys()]).toEqual([after.lease.node])
        expect(table.has(before.lease.node)).toBe(false)
      })

      test('keeps the IPv4 subnet when the network gets a second family', async () => {
        await bed.writeConfig(config)
        const before = await join(7)
        await bed.writeConfig(dualConfig)
        const after = await join(7)
        expect(after.lease.subnets[0]?.prefix).toBe(before.lease.subnets[0]?.prefix)
        const { table } = await firstTable(after.store, stop.signal)
        expect([...table.keys()]).toEqual([after.lease.node])
      })

      test('gives each of many nodes that start at once a subnet of its own', async () => {
        await bed.writeConfig(config)
        const joined = await Promise.all(Array.from({ length: 30 }, (_, i) => join(i + 1)))
        expect(new Set(joined.map(({ lease }) => lease.node)).size).toBe(30)
      })

      test('gives no two nodes that start at once the same subnet of either family', async () => {
        await bed.writeConfig(dualConfig)
        const joined = await Promise.all(Array.from({ length: 30 }, (_, i) => join(i + 1)))
        const prefixes = joined.flatMap(({ lease }) => lease.subnets.map(subnet => subnet.prefix))
        expect(new Set(prefixes).size).toBe(60)
      })

      test('waits while the network is full, says so, and takes what becomes free', async () => {
        await bed.writeConfig(tinyConfig)
        const [a] = await Promise.all([join(1), join(2), join(3)])
        const store = bed.openNode()
        const waiting = store.acquire(await ask(store, 4), stop.signal)
        await until('the store to say why it waits', () => store.health().trouble)
        expect(store.health().trouble).toContain(
          'out of subnets: 10.1.0.0/22 has 3 of length /24 from 10.1.1.0 to 10.1.3.0, and 3 leases leave none of them free',
        )
        await bed.removeLease(a.lease.node)
        expect((await waiting).node).toBe(a.lease.node)
        expect(store.health().trouble).toBeUndefined()
      })
    })

    describe('keeping', () => {
      test('continues until the signal aborts and then resolves', async () => {
        await bed.writeConfig(config)
        const { store, lease } = await join(7)
        const done = new AbortController()
        const keeping = store.keep(lease, done.signal)
        expect(await isPending(keeping)).toBe(true)
        done.abort(new Error('leaving'))
        await expect(keeping).resolves.toBeUndefined()
      })

      test('claims the same subnet again when the key is gone', async () => {
        await bed.writeConfig(config)
        const { store, lease } = await join(7)
        const keeping = store.keep(lease, stop.signal)
        keeping.catch(() => {})
        const tables = follow(bed.openNode(), stop.signal)
        await tables.until(table => table.has(lease.node))
        await bed.removeLease(lease.node)
        const back = await tables.until(table => (table.get(lease.node)?.since ?? 0) > lease.since)
        expect(back.get(lease.node)?.subnets).toEqual(lease.subnets)
        expect(await isPending(keeping)).toBe(true)
      })

      test('rejects with the new holder when the key is taken', async () => {
        await bed.writeConfig(config)
        const { store, lease } = await join(7)
        const keeping = store.keep(lease, stop.signal)
        keeping.catch(() => {})
        await bed.writeLease(
          lease.node,
          '{"PublicIP":"192.168.0.66","PublicIPv6":null,"BackendType":"vxlan"}',
        )
        const error = await keeping.catch((reason: unknown) => reason)
        expect(error).toBeInstanceOf(LeaseLostError)
        expect((error as LeaseLostError).holder?.subnets[0]?.publicIp).toBe('192.168.0.66')
        expect((error as LeaseLostError).message).toContain('192.168.0.66')
      })

      test('lives through a store that is away', async () => {
        await bed.writeConfig(config)
        const { store, lease } = await join(7)
        const keeping = store.keep(lease, stop.signal)
        keeping.catch(() => {})
        await bed.fail()
        expect(await isPending(keeping, 300)).toBe(true)
        await bed.recover()
        await bed.removeLease(lease.node)
        const tables = follow(store, stop.signal)
        await tables.until(table => (table.get(lease.node)?.since ?? 0) > lease.since)
        expect(await isPending(keeping)).toBe(true)
      })
    })

    describe('watching', () => {
      test('begins with all leases, our own among them', async () => {
        await bed.writeConfig(config)
        const leases = await Promise.all([join(1), join(2), join(3)])
        const first = await firstTable(bed.openNode(), stop.signal)
        expect([...first.table.values()].sort(byNode)).toEqual(leases.map(({ lease }) => lease).sort(byNode))
        expect([...first.changed].sort()).toEqual([...first.table.keys()].sort())
      })

      test('begins with an empty table where there is no lease', async () => {
        await bed.writeConfig(config)
        expect((await firstTable(bed.openNode(), stop.signal)).table.size).toBe(0)
      })

      test('tells of a node that joins, of one that publishes other data, and of one that is gone', async () => {
        await bed.writeConfig(config)
        await join(1)
        const tables = follow(bed.openNode(), stop.signal)
        await tables.until(table => table.size === 1)
        const { lease } = await join(2)
        await tables.until(table => table.has(lease.node))
        await join(2, { backendData: () => [vtep('02:00:00:00:00:42')] })
        await tables.until(table => vtepMac(table.get(lease.node)) === '02:00:00:00:00:42')
        await bed.removeLease(lease.node)
        await tables.until(table => table.size === 1 && !table.has(lease.node))
        expect(tables.changed.has(lease.node)).toBe(true)
      })

      test('folds what comes faster than it is taken into one complete table', async () => {
        await bed.writeConfig(config)
        const changes = bed.openNode().watch(stop.signal)[Symbol.asyncIterator]()
        await changes.next()
        const joined = await Promise.all(Array.from({ length: 20 }, (_, i) => join(i + 1)))
        const sentinel = await join(99)
        const other = follow(bed.openNode(), stop.signal)
        await other.until(table => table.has(sentinel.lease.node))
        let takes = 0
        let table: LeaseTableChange['table'] = new Map()
        while (!table.has(sentinel.lease.node)) {
          table = (await changes.next()).value.table
          takes++
        }
        expect(table.size).toBe(21)
        expect(takes).toBeLessThan(10)
        expect(joined.every(({ lease }) => table.has(lease.node))).toBe(true)
      })

      test('keeps a peer whose value can no longer be read, and says which and why', async () => {
        await bed.writeConfig(config)
        const { lease } = await join(1)
        const tables = follow(bed.openNode(), stop.signal)
        await tables.until(table => table.has(lease.node))
        await bed.writeLease(lease.node, 'garbage')
        await bed.writeLease('10.1.200.0-24', '{"PublicIP":7}')
        await tables.until(() => tables.problems.length === 2)
        expect(tables.table.get(lease.node)).toEqual(lease)
        expect(tables.problems.map(problem => problem.key).sort()).toEqual(
          [lease.node, '10.1.200.0-24'].sort(),
        )
      })

      test('says nothing, and removes no peer, while the store is away', async () => {
        await bed.writeConfig(config)
        const { lease } = await join(1)
        const tables = follow(bed.openNode(), stop.signal)
        await tables.until(table => table.has(lease.node))
        const before = tables.takes
        await bed.fail()
        await new Promise(resolve => setTimeout(resolve, 300))
        expect(tables.takes).toBe(before)
        await bed.recover()
        const joined = await join(2)
        await tables.until(table => table.size === 2)
        expect([...tables.table.keys()].sort()).toEqual([lease.node, joined.lease.node].sort())
      })

      test('ends with the reason of the signal', async () => {
        await bed.writeConfig(config)
        const done = new AbortController()
        const changes = bed.openNode().watch(done.signal)[Symbol.asyncIterator]()
        await changes.next()
        const next = changes.next()
        done.abort(new Error('leaving'))
        await expect(next).rejects.toThrow('leaving')
      })
    })

    test('health knows when the store was last heard', async () => {
      await bed.writeConfig(config)
      const store = bed.openNode()
      expect(store.health().lastContactMs).toBeUndefined()
      const askedAt = Date.now()
      await store.networkConfig(stop.signal)
      expect(store.health().lastContactMs).toBeGreaterThanOrEqual(askedAt)
      expect(store.health().trouble).toBeUndefined()
    })
  })
}

/** Node number n: 192.168.0.n and fd00:aa::n, VTEP MAC ending in n. */
export function requestOf(n: number, network: LeaseRequest['network']): LeaseRequest {
  const ips: Record<string, Ip> = {
    ipv4: parseIp(`192.168.${n >> 8}.${n & 0xff}`),
    ipv6: parseIp(`fd00:aa::${n.toString(16)}`),
  }
  const mac = `02:00:00:00:${hexByte(n >> 8)}:${hexByte(n & 0xff)}`
  return {
    network,
    publicIps: network.families.map(({ family }) => ips[family] as Ip),
    previousSubnets: [] as Prefix[],
    deviceMacs: [parseMac(mac)],
    backendType: 'vxlan',
    backendData: () => network.families.map(() => vtep(mac)),
  }
}

/** Takes every table of a store; the last one is at hand, and one that meets a condition can be awaited. */
export function follow(store: LeaseStore, signal: AbortSignal) {
  const seen = {
    table: new Map() as LeaseTableChange['table'],
    changed: new Set<string>(),
    problems: [] as LeaseTableChange['problems'],
    takes: 0,
    error: undefined as unknown,
    async until(condition: (table: LeaseTableChange['table']) => boolean, withinMs = 40_000) {
      await until(
        'a table that fits',
        () => seen.error !== undefined || (seen.takes > 0 && condition(seen.table)),
        {
          withinMs,
          otherwise: () =>
            `${[...seen.table.values()].map(printLease).join(', ')} (${store.health().trouble})`,
        },
      )
      if (seen.error !== undefined) throw seen.error
      return seen.table
    },
  }
  const run = async () => {
    for await (const change of store.watch(signal)) {
      seen.table = change.table
      seen.problems = change.problems
      for (const node of change.changed) seen.changed.add(node)
      seen.takes++
    }
  }
  run().catch(error => {
    if (!signal.aborted) seen.error = error
  })
  return seen
}

async function firstTable(store: LeaseStore, signal: AbortSignal): Promise<LeaseTableChange> {
  for await (const change of store.watch(signal)) return change
  throw new Error('the watch ended')
}

async function isPending(promise: Promise<unknown>, forMs = 50): Promise<boolean> {
  const later = new Promise(resolve => setTimeout(resolve, forMs, 'later'))
  const settled = promise.then(
    () => 'settled',
    () => 'settled',
  )
  return (await Promise.race([settled, later])) === 'later'
}

function vtepMac(lease: Lease | undefined): unknown {
  return vtepOf(lease?.subnets[0]?.backendData)?.mac
}

function byNode(a: Lease, b: Lease): number {
  return a.node < b.node ? -1 : 1
}

function hexByte(value: number): string {
  return (value & 0xff).toString(16).padStart(2, '0')
}
