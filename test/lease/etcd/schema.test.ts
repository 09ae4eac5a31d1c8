import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { parseIp } from '../../../lease/net/ip.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { requestOf } from '../../contract/lease_store.ts'
import { type EtcdServer, startEtcd } from '../../support/etcd.ts'
import { EtcdBed } from '../../support/etcd_bed.ts'

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
})
afterEach(async () => {
  stop.abort()
  await bed.close()
})

/** What stands in etcd, to the byte: keys and values, separated by newlines. */
const everything = () => server.ctl('get', '--prefix', bed.prefix)

async function join(n: number, previous: readonly string[], more: object = {}) {
  const store = bed.openNode()
  const network = await store.networkConfig(stop.signal)
  const request = { ...requestOf(n, network), previousSubnets: previous.map(parsePrefix), ...more }
  return { store, lease: await store.acquire(request, stop.signal) }
}

test('a vxlan lease stands in etcd as flanneld writes it', async () => {
  await bed.writeConfig('{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}')
  await join(7, ['10.1.5.0/24'])
  expect(await server.ctl('get', '--prefix', bed.key(''))).toBe(
    `${bed.prefix}/subnets/10.1.5.0-24\n` +
      '{"PublicIP":"192.168.0.7","PublicIPv6":null,"BackendType":"vxlan",' +
      '"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}}\n',
  )
})

test('a lease of both families stands under one key', async () => {
  await bed.writeConfig(
    '{"Network":"10.12.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:12::/32","IPv6SubnetLen":56,"Backend":{"Type":"vxlan"}}',
  )
  await join(7, ['10.12.13.0/24', 'fd00:12:13::/56'])
  expect(await server.ctl('get', '--prefix', bed.key(''))).toBe(
    `${bed.prefix}/subnets/10.12.13.0-24&fd00:12:13::-56\n` +
      '{"PublicIP":"192.168.0.7","PublicIPv6":"fd00:aa::7","BackendType":"vxlan",' +
      '"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:07"},' +
      '"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}}\n',
  )
})

test('a lease without backend data has none in its value', async () => {
  await bed.writeConfig('{"Network":"10.1.0.0/16","Backend":{"Type":"host-gw"}}')
  await join(7, ['10.1.5.0/24'], { backendType: 'host-gw', backendData: () => [undefined] })
  expect(await server.ctl('get', '--print-value-only', bed.key('10.1.5.0-24'))).toBe(
    '{"PublicIP":"192.168.0.7","PublicIPv6":null,"BackendType":"host-gw"}\n',
  )
})

test('nothing but the config and the subnet keys is ever written', async () => {
  await bed.writeConfig('{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}')
  const { store, lease } = await join(7, ['10.1.5.0/24'])
  store.keep(lease, stop.signal).catch(() => {})
  for await (const { table } of store.watch(stop.signal)) if (table.size === 1) break
  const keys = (await everything()).split('\n').filter(line => line.startsWith('/'))
  expect(keys).toEqual([`${bed.prefix}/config`, `${bed.prefix}/subnets/10.1.5.0-24`])
})

test('each key has an etcd lease of its own, of 24 hours', async () => {
  await bed.writeConfig('{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}')
  await join(7, ['10.1.5.0/24'])
  await join(8, ['10.1.6.0/24'])
  const ids = [await leaseIdOf('10.1.5.0-24'), await leaseIdOf('10.1.6.0-24')]
  expect(new Set(ids).size).toBe(2)
  for (const id of ids) {
    const text = await server.ctl('lease', 'timetolive', id, '--keys')
    expect(text).toMatch(/granted with TTL\(86400s\), remaining\(863\d\ds\), attached keys\(\[[^ ]+\]\)/)
  }
})

test('a reservation stands without an etcd lease, as an operator would write it by hand', async () => {
  await bed.writeConfig('{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}')
  const store = bed.openNode()
  const subnet = [parsePrefix('10.1.9.0/24')]
  expect(await store.reserve(subnet, [parseIp('1.2.3.4')], stop.signal)).toBe('reserved')
  expect(await server.ctl('get', '--print-value-only', bed.key('10.1.9.0-24'))).toBe(
    '{"PublicIP":"1.2.3.4","PublicIPv6":null}\n',
  )
  expect(await leaseIdOf('10.1.9.0-24')).toBe('0')
})

/** In hex, as etcdctl wants it. */
async function leaseIdOf(node: string): Promise<string> {
  const { kvs } = JSON.parse(await server.ctl('get', '-w', 'json', bed.key(node))) as {
    kvs: { lease?: unknown }[]
  }
  // Beyond 2^53: JSON.parse would round it.
  const digits = /"lease":(\d+)/.exec(await server.ctl('get', '-w', 'json', bed.key(node)))?.[1] ?? '0'
  expect(kvs.length).toBe(1)
  return BigInt(digits).toString(16)
}
