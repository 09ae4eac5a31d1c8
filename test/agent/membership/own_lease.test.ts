import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Underlay } from '../../../agent/backend/backend.ts'
import { openBackend } from '../../../agent/backend/registry.ts'
import { OwnLease } from '../../../agent/membership/own_lease.ts'
import { type Lease, printLease } from '../../../lease/lease.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { type Mac, parseMac } from '../../../lease/net/mac.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'
import { LeaseLostError } from '../../../lease/store.ts'
import { RecordingLog } from '../../support/log.ts'
import { MemoryServer, MemoryStore } from '../../support/memory_store.ts'
import { until } from '../../support/until.ts'

const config = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'
const network = parseNetworkConfig(config)
const at = (ip: string, underlayMtu = 1500): Underlay => ({
  name: 'eth0',
  underlayMtu,
  publicIps: [parseIp(ip)],
  localIps: [parseIp(ip)],
  onLink: [],
})
const theirs =
  '{"PublicIP":"192.168.0.99","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:99"}}'

describe("a node's own lease", () => {
  let server: MemoryServer
  let log: RecordingLog
  let stop: AbortController
  let told: string[]
  beforeEach(() => {
    server = new MemoryServer()
    server.writeConfig(config)
    log = new RecordingLog()
    stop = new AbortController()
    told = []
  })
  afterEach(() => stop.abort(new Error('the test is over')))

  const make = (options: { deviceMac?: Mac; previous?: string; leaseLost?: 'wait' | 'exit' } = {}) =>
    new OwnLease(
      {
        store: new MemoryStore(server, () => 0),
        network,
        backend: openBackend(network),
        log,
        previousSubnets: options.previous === undefined ? [] : [parsePrefix(options.previous)],
        deviceMacs: [options.deviceMac],
        leaseLost: options.leaseLost ?? 'wait',
        hostNetworks: () => [],
        randomBytes: () => Uint8Array.of(2, 1, 2, 3, 4, 5),
      },
      at('192.168.0.1'),
    )
  const keep = (own: OwnLease) => {
    const kept = own.keep((lease: Lease) => told.push(printLease(lease)), stop.signal)
    kept.catch(() => {})
    return kept
  }
  const values = () =>
    Object.fromEntries([...server.entries].map(([key, { value }]) => [key, JSON.parse(value)]))

  it('is claimed with a MAC of its own making', async () => {
    const lease = await make().claim(stop.signal)
    expect(values()[lease.node]).toMatchObject({
      PublicIP: '192.168.0.1',
      BackendData: { VNI: 1, VtepMAC: '02:01:02:03:04:05' },
    })
  })

  it('is claimed with the MAC of the device that stands, and the subnet of an earlier life', async () => {
    const own = make({ deviceMac: parseMac('c6:d2:00:00:00:01'), previous: '10.244.7.0/24' })
    expect(printLease(await own.claim(stop.signal))).toBe('10.244.7.0/24 at 192.168.0.1')
    expect(JSON.stringify(values())).toContain('c6:d2:00:00:00:01')
  })

  it('is claimed with the MAC that peers know, rather than that of a device', async () => {
    server.write('10.244.7.0-24', theirs.replace('192.168.0.99', '192.168.0.1'))
    await make({ deviceMac: parseMac('c6:d2:00:00:00:01') }).claim(stop.signal)
    expect(JSON.stringify(values())).toContain('02:00:00:00:00:99')
  })

  it('is published again where the public IP changes, with the same MAC, and each asker is told', async () => {
    const own = make()
    await own.claim(stop.signal)
    void keep(own)
    own.move(at('192.168.0.2'))
    await until('the new public IP', () => JSON.stringify(values()).includes('"192.168.0.2"'))
    expect(JSON.stringify(values())).toContain('02:01:02:03:04:05')
    await until('the word', () => told.length > 0)
    expect(told.at(-1)).toMatch(/ at 192\.168\.0\.2$/)
  })

  it('is left alone where only the MTU changes', async () => {
    const own = make()
    await own.claim(stop.signal)
    void keep(own)
    own.move(at('192.168.0.1', 1400))
    expect(own.underlay.underlayMtu).toBe(1400)
    expect(log.said(/lease/)).toHaveLength(1)
    expect(told).toEqual([])
  })

  it('follows the last of several moves', async () => {
    const own = make()
    await own.claim(stop.signal)
    void keep(own)
    for (const ip of ['192.168.0.2', '192.168.0.3', '192.168.0.4']) own.move(at(ip))
    await until('the last public IP', () => told.at(-1)?.endsWith(' at 192.168.0.4'))
  })

  it('that another node took is named, once, and is ours again when that one lets it go', async () => {
    const own = make()
    const { node } = await own.claim(stop.signal)
    void keep(own)
    server.write(node, theirs)
    await until('the trouble', () => own.trouble)
    expect(own.trouble).toContain('192.168.0.99')
    own.reconsider()
    own.reconsider()
    server.remove(node)
    own.reconsider()
    await until('the lease', () => server.entries.get(node)?.value.includes('192.168.0.1'))
    expect(log.lines.filter(({ level }) => level === 'error')).toHaveLength(1)
    await until('the trouble to be over', () => own.trouble === undefined)
  })

  it('keeps its subnet where its address changes while another node has its key, and stays in trouble', async () => {
    const own = make()
    const { node } = await own.claim(stop.signal)
    void keep(own)
    server.write(node, theirs)
    await until('the trouble', () => own.trouble)
    own.move(at('192.168.0.2'))
    await until('the move', () => told.length > 0)
    expect(told.at(-1)).toContain(node.replace('-', '/'))
    await until('the trouble', () => own.trouble?.includes('192.168.0.99'))
    expect([...server.entries.keys()]).toEqual([node])
  })

  it('that is another subnet than that of an earlier life is a warning that says what it means', async () => {
    await make({ previous: '10.244.7.0/24' }).claim(stop.signal)
    expect(log.said(/subnet was/)).toEqual([])
    server.write('10.244.9.0-24', theirs)
    server.remove('10.244.7.0-24')
    await make({ previous: '10.244.9.0/24' }).claim(stop.signal)
    expect(log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message)).toEqual([
      expect.stringMatching(
        /^this node's subnet was 10\.244\.9\.0\/24 and is 10\.244\.\d+\.0\/24 now: pods made before keep addresses of 10\.244\.9\.0\/24/,
      ),
    ])
  })

  it('that another node took ends the agent where it was told so', async () => {
    const own = make({ leaseLost: 'exit' })
    const { node } = await own.claim(stop.signal)
    const kept = keep(own)
    server.write(node, theirs)
    await expect(kept).rejects.toThrow(LeaseLostError)
  })

  it('that was removed is written again, without a word', async () => {
    const own = make()
    const { node } = await own.claim(stop.signal)
    void keep(own)
    server.remove(node)
    await until('the lease', () => server.entries.has(node))
    expect(own.trouble).toBeUndefined()
  })

  it('ends with the reason of the signal', async () => {
    const own = make()
    await own.claim(stop.signal)
    const kept = keep(own)
    const reason = new Error('enough')
    stop.abort(reason)
    await expect(kept).rejects.toBe(reason)
  })
})
