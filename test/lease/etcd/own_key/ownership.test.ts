import { setMaxListeners } from 'node:events'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { EtcdLeaseStore } from '../../../../lease/etcd/store.ts'
import type { Lease } from '../../../../lease/lease.ts'
import { parseIp } from '../../../../lease/net/ip.ts'
import { overlaps, parsePrefix } from '../../../../lease/net/prefix.ts'
import { LeaseLostError, LeaseRefusedError } from '../../../../lease/store.ts'
import { follow, requestOf } from '../../../contract/lease_store.ts'
import { type EtcdServer, startEtcd } from '../../../support/etcd.ts'
import { EtcdBed } from '../../../support/etcd_bed.ts'
import { TcpProxy } from '../../../support/tcp_proxy.ts'
import { until } from '../../../support/until.ts'

const config = '{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}'
const value = (ip: string) => `{"PublicIP":"${ip}","PublicIPv6":null,"BackendType":"vxlan"}`
const withMac = (ip: string, mac: string) =>
  `{"PublicIP":"${ip}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`

let server: EtcdServer
let bed: EtcdBed
let stop: AbortController
beforeAll(async () => {
  server = await startEtcd()
})
afterAll(() => server.remove())
beforeEach(() => {
  bed = new EtcdBed(server)
  stop = new AbortController()
  setMaxListeners(0, stop.signal)
})
afterEach(async () => {
  stop.abort()
  await bed.close()
})

async function join(n: number, store: EtcdLeaseStore = bed.openNode(), previous: readonly string[] = []) {
  const network = await store.networkConfig(stop.signal)
  const request = { ...requestOf(n, network), previousSubnets: previous.map(parsePrefix) }
  return store.acquire(request, stop.signal)
}

/** Keeps it until the test ends; what it rejects with, if it does. */
function keep(store: EtcdLeaseStore, lease: Lease): { error: unknown } {
  const state: { error: unknown } = { error: undefined }
  store.keep(lease, stop.signal).catch(error => {
    state.error = error
  })
  return state
}

describe('a race', () => {
  test('of 200 nodes for 250 subnets has 200 owners of different subnets', async () => {
    await bed.writeConfig('{"Network":"10.1.0.0/16","SubnetMin":"10.1.1.0","SubnetMax":"10.1.250.0"}')
    const leases = await Promise.all(Array.from({ length: 200 }, (_, i) => join(i + 1)))
    expect(new Set(leases.map(lease => lease.node)).size).toBe(200)
    expect([...(await bed.keys())].sort()).toEqual(leases.map(lease => lease.node).sort())
  })

  test('of 250 nodes for 200 subnets has 200 owners, and 50 that say what they wait for', async () => {
    await bed.writeConfig('{"Network":"10.1.0.0/16","SubnetMin":"10.1.1.0","SubnetMax":"10.1.200.0"}')
    const stores = Array.from({ length: 250 }, () => bed.openNode())
    const owners: Lease[] = []
    const done = new AbortController()
    setMaxListeners(0, done.signal)
    const all = stores.map(async (store, i) => {
      const network = await store.networkConfig(done.signal)
      owners.push(await store.acquire(requestOf(i + 1, network), done.signal))
    })
    const waiting = () =>
      stores.filter(store => store.health().trouble?.includes('200 leases leave none of them free'))
    await until('200 owners and 50 that wait', () => owners.length === 200 && waiting().length === 50, {
      withinMs: 80_000,
      otherwise: () => `${owners.length} owners, ${waiting().length} wait`,
    })
    expect(new Set(owners.map(lease => lease.node)).size).toBe(200)
    expect((await bed.keys()).length).toBe(200)
    expect(waiting()[0]?.health().trouble).toBe(
      'out of subnets: 10.1.0.0/16 has 200 of length /24 from 10.1.1.0 to 10.1.200.0, and 200 leases leave none of them ' +
        'free; remove the leases of nodes that are gone, or widen the network config; still waiting for one',
    )
    done.abort()
    await Promise.allSettled(all)
  })

  test('of nodes of two families has no owner of another’s subnet in either', async () => {
    await bed.writeConfig(
      '{"Network":"10.1.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:1::/48","IPv6SubnetLen":56}',
    )
    const leases = await Promise.all(Array.from({ length: 100 }, (_, i) => join(i + 1)))
    const prefixes = leases.flatMap(lease => lease.subnets.map(subnet => subnet.prefix))
    expect(new Set(prefixes).size).toBe(200)
    expect((await bed.keys()).length).toBe(100)
  })

  test('of two keys for one IPv4 subnet, with and without a second family, has one owner', async () => {
    await bed.writeConfig(config)
    await bed.writeLease('10.1.5.0-24&fd00:5::-64', value('192.168.0.66'))
    const lease = await join(7, bed.openNode(), ['10.1.5.0/24'])
    expect(lease.node).not.toBe('10.1.5.0-24')
  })
})

describe('a lease that another writer touched', () => {
  test('is claimed again at once when it was deleted, with the same subnet and value', async () => {
    await bed.writeConfig(config)
    const store = bed.openNode()
    const lease = await join(7, store)
    const keeping = keep(store, lease)
    const before = await server.ctl('get', '--print-value-only', bed.key(lease.node))
    await until('the watch on the key', () => store.calls >= 5)
    const tables = follow(bed.openNode(), stop.signal)
    await tables.until(table => table.has(lease.node))
    await bed.removeLease(lease.node)
    await tables.until(table => (table.get(lease.node)?.since ?? 0) > lease.since)
    expect(await server.ctl('get', '--print-value-only', bed.key(lease.node))).toBe(before)
    expect(bed.log.said('was gone and free: claimed it again').length).toBe(1)
    expect(keeping.error).toBeUndefined()
  })

  test('is lost when another node has the key, and nothing of that node is changed', async () => {
    await bed.writeConfig(config)
    const store = bed.openNode()
    const lease = await join(7, store)
    const keeping = keep(store, lease)
    await bed.writeLease(lease.node, value('192.168.0.66'))
    await until('the keeper to say so', () => keeping.error !== undefined)
    expect(keeping.error).toBeInstanceOf(LeaseLostError)
    expect(String(keeping.error)).toMatch(
      /^LeaseLostError: Our subnet 10\.1\.\d+\.0\/24 at 192\.168\.0\.7 was taken by 10\.1\.\d+\.0\/24 at 192\.168\.0\.66; what is programmed stays/,
    )
    expect(await server.ctl('get', '--print-value-only', bed.key(lease.node))).toBe(
      `${value('192.168.0.66')}\n`,
    )
  })

  test('is lost when it ran out and another key of another node now covers the subnet', async () => {
    await bed.writeConfig(config)
    const store = bed.openNode()
    const lease = await join(7, store, ['10.1.5.0/24'])
    await bed.removeLease(lease.node)
    await bed.writeLease('10.1.4.0-23', value('192.168.0.66'))
    const keeping = keep(store, lease)
    await until('the keeper to say so', () => keeping.error !== undefined)
    expect((keeping.error as LeaseLostError).holder?.subnets[0]?.prefix).toBe('10.1.4.0/23')
    expect(await bed.keys()).toEqual(['10.1.4.0-23'])
  })

  test('is put right once when another program with our public IP rewrites it, and not in a race with it', async () => {
    await bed.writeConfig(config)
    const store = bed.openNode({}, { checkMs: 60_000 })
    const lease = await join(7, store)
    keep(store, lease)
    const read = () => server.ctl('get', '--print-value-only', bed.key(lease.node))
    const ours = await read()
    await bed.writeLease(lease.node, value('192.168.0.7'), '--lease', await someLease())
    await until('our value', async () => (await read()) === ours)
    await bed.writeLease(lease.node, value('192.168.0.7'), '--lease', await someLease())
    await until('the keeper to see it', () => bed.log.said('was rewritten by another program').length === 2)
    const calls = store.calls
    await new Promise(resolve => setTimeout(resolve, 500))
    expect(await read()).toBe(`${value('192.168.0.7')}\n`)
    expect(store.calls - calls).toBeLessThan(3)
  })

  test('is given up at the next start where an older lease overlaps it', async () => {
    await bed.writeConfig(config)
    await bed.writeLease('10.1.5.0-24', value('192.168.0.66'))
    const own = withMac('192.168.0.7', '02:00:00:00:00:07')
    await bed.writeLease('10.1.5.0-24&fd00:5::-64', own, '--lease', await someLease())
    const lease = await join(7)
    expect(overlaps(parsePrefix('10.1.5.0/24'), parsePrefix(lease.node.replace('-', '/')))).toBe(false)
    expect([...(await bed.keys())].sort()).toEqual(['10.1.5.0-24', lease.node].sort())
  })

  test('is kept under a changed public IP as long as the process lives', async () => {
    await bed.writeConfig(config)
    const store = bed.openNode()
    const lease = await join(7, store)
    const moved = await join(8, store)
    expect(moved.node).toBe(lease.node)
    expect(moved.subnets[0]?.publicIp).toBe('192.168.0.8')
    expect(await bed.keys()).toEqual([lease.node])
  })

  test('does not pile up: a node with several keys keeps the oldest', async () => {
    await bed.writeConfig(config)
    const own = withMac('192.168.0.7', '02:00:00:00:00:07')
    await bed.writeLease('10.1.9.0-24', own, '--lease', await someLease())
    await bed.writeLease('10.1.5.0-24', own, '--lease', await someLease())
    expect((await join(7)).node).toBe('10.1.9.0-24')
    expect(await bed.keys()).toEqual(['10.1.9.0-24'])
  })
})

test('a claim that etcd carried out and did not answer is had at the second try, and its key stays', async () => {
  await bed.writeConfig(config)
  const proxy = await TcpProxy.open(server.port)
  proxy.muteAfter = '"PublicIP"'
  try {
    const joining = join(7, bed.openNode({ endpoints: [`http://127.0.0.1:${proxy.port}`] }))
    await until('etcd to carry out the claim', async () => (await bed.keys()).length === 1)
    proxy.muteAfter = undefined
    proxy.cut()
    const lease = await joining
    expect(bed.log.said(/^Cannot .*trying again/)).toHaveLength(1)
    expect(await bed.keys()).toEqual([lease.node])
  } finally {
    proxy.close()
  }
})

describe('a reservation', () => {
  const subnet = [parsePrefix('10.1.77.0/24')]

  test('is what its node gets, and stays without an etcd lease through acquire, keep and restart', async () => {
    await bed.writeConfig(config)
    const operator = bed.openNode()
    await operator.reserve(subnet, [parseIp('192.168.0.7')], stop.signal)
    const store = bed.openNode({}, { ttlSeconds: 2, checkMs: 100 })
    const lease = await join(7, store)
    expect(lease.node).toBe('10.1.77.0-24')
    const keeping = keep(store, lease)
    await new Promise(resolve => setTimeout(resolve, 500))
    await join(7)
    expect(await leaseOf('10.1.77.0-24')).toBe('0')
    expect(keeping.error).toBeUndefined()
    expect(await operator.reserve(subnet, [parseIp('192.168.0.7')], stop.signal)).toBe('was reserved')
  })

  test('belongs to no other node', async () => {
    await bed.writeConfig('{"Network":"10.1.0.0/22","SubnetLen":24}')
    for (const n of [1, 2, 3])
      await bed.openNode().reserve([parsePrefix(`10.1.${n}.0/24`)], [parseIp(`1.1.1.${n}`)], stop.signal)
    const store = bed.openNode()
    join(7, store).catch(() => {})
    await until('it to wait', () => store.health().trouble?.includes('out of subnets'))
  })

  test('is made of a running lease without a break, and turned back into one that its node renews', async () => {
    await bed.writeConfig(config)
    const store = bed.openNode()
    const lease = await join(7, store)
    const keeping = keep(store, lease)
    const prefixes = lease.subnets.map(({ prefix }) => prefix)
    await bed.openNode().reserve(prefixes, [parseIp('192.168.0.7')], stop.signal)
    await until('the keeper to see it', () => bed.log.said('has become a reservation').length === 1)
    expect(await leaseOf(lease.node)).toBe('0')
    expect(await bed.openNode().release(prefixes, stop.signal)).toBe('runs out')
    await until('the keeper to renew it', async () => (await leaseOf(lease.node)) !== '0')
    const table = await follow(store, stop.signal).until(all => all.size === 1)
    expect(table.get(lease.node)).toEqual(lease)
    expect(keeping.error).toBeUndefined()
  })

  test('that no node published anything under is removed by its release', async () => {
    await bed.writeConfig(config)
    const operator = bed.openNode()
    await operator.reserve(subnet, [parseIp('192.168.0.7')], stop.signal)
    expect(await operator.release(subnet, stop.signal)).toBe('removed')
    expect(await bed.keys()).toEqual([])
  })

  test('is refused where another node holds the subnet, or it is none of the network', async () => {
    await bed.writeConfig(config)
    const operator = bed.openNode()
    const lease = await join(8, bed.openNode(), ['10.1.77.0/24'])
    await expect(operator.reserve(subnet, [parseIp('192.168.0.7')], stop.signal)).rejects.toThrow(
      'Cannot reserve 10.1.77.0/24: 10.1.77.0/24 at 192.168.0.8 holds it; choose another, or delete ' +
        `${bed.key(lease.node)} if that node is gone`,
    )
    const outside = operator.reserve([parsePrefix('10.9.0.0/24')], [parseIp('192.168.0.7')], stop.signal)
    await expect(outside).rejects.toThrow(LeaseRefusedError)
    await expect(operator.release(subnet, stop.signal)).rejects.toThrow('is not reserved')
  })
})

async function someLease(): Promise<string> {
  return /lease (\w+) granted/.exec(await server.ctl('lease', 'grant', '600'))?.[1] ?? ''
}

async function leaseOf(node: string): Promise<string> {
  return /"lease":(\d+)/.exec(await server.ctl('get', '-w', 'json', bed.key(node)))?.[1] ?? '0'
}
