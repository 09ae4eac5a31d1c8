import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { EtcdTuning } from '../../../../lease/etcd/client/tuning.ts'
import type { EtcdOptions } from '../../../../lease/options.ts'
import { LeaseLostError } from '../../../../lease/store.ts'
import { startEtcd } from '../../../support/etcd.ts'
import { EtcdBed, fastTuning } from '../../../support/etcd_bed.ts'
import { EtcdNode } from '../../../support/etcd_node.ts'
import { until } from '../../../support/until.ts'

const config = '{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}'
const value = (ip: string) => `{"PublicIP":"${ip}","PublicIPv6":null,"BackendType":"vxlan"}`

let folder: string
let cacheFile: string
let bed: EtcdBed
const nodes: EtcdNode[] = []
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'twill-cache-'))
  cacheFile = join(folder, 'leases.json')
  const server = await startEtcd()
  bed = new EtcdBed(server, { ...fastTuning, saveMs: 20 })
  await bed.writeConfig(config)
})
afterEach(async () => {
  for (const node of nodes.splice(0)) await node.stop()
  await bed.close()
  await bed.server.remove()
  rmSync(folder, { recursive: true, force: true })
})

function make(
  number: number,
  options: Partial<EtcdOptions> = {},
  tuning: Partial<EtcdTuning> = {},
): EtcdNode {
  const node = new EtcdNode(bed, number, options, tuning)
  nodes.push(node)
  return node
}

/** Node 1 has run with node 2 as its peer, and has stopped; etcd is down. */
async function leaveCache(): Promise<{
  readonly own: string
  readonly peer: string
  readonly value: string
}> {
  const [first, second] = [make(1, { cacheFile }), make(2)]
  await Promise.all([first.start(), second.start()])
  await first.tables?.until(table => table.size === 2)
  await until('the lease to be confirmed', () => readFileOrNothing().includes('"modRevision"'))
  await first.stop()
  await second.stop()
  const own = first.lease?.node ?? ''
  const published = await bed.server.ctl('get', '--print-value-only', bed.key(own))
  await bed.server.stop()
  return { own, peer: second.lease?.node ?? '', value: published }
}

function readFileOrNothing(): string {
  try {
    return readFileSync(cacheFile, 'utf8')
  } catch {
    return ''
  }
}

describe('a start while etcd is away', () => {
  test('has the network config, the lease and the peers of the last time, and says so', async () => {
    const { own, peer } = await leaveCache()
    const node = await make(1, { cacheFile }).start()
    expect(node.lease?.node).toBe(own)
    expect(node.known).toEqual([own, peer].sort())
    expect(
      bed.log.said(/^etcd has not answered yet: starting with the network config and leases of \d{4}-/)
        .length,
    ).toBe(1)
    expect(bed.log.said('etcd has not answered yet: continuing with our last lease').length).toBe(1)
    await until('the trouble to show', () => node.store.health().trouble)
    expect(node.store.health().lastContactMs).toBeUndefined()
  })

  test('has its lease confirmed by comparison once etcd is back, and then what is new', async () => {
    const { own, peer, value: published } = await leaveCache()
    const node = await make(1, { cacheFile }).start()
    await bed.server.restart()
    await until('the confirmation', () => bed.log.said('etcd confirms our lease').length === 1)
    expect(await bed.server.ctl('get', '--print-value-only', bed.key(own))).toBe(published)
    await bed.removeLease(peer)
    await bed.writeLease('10.1.200.0-24', value('1.2.3.4'))
    await node.tables?.until(table => table.size === 2 && table.has('10.1.200.0-24'))
    expect(node.lost).toBeUndefined()
    expect((await bed.server.ctl('lease', 'list')).length).toBeGreaterThan(0)
  })

  test('is told when its subnet is another node’s by then', async () => {
    const { own } = await leaveCache()
    const node = await make(1, { cacheFile }).start()
    await bed.server.restart()
    // Faster than the node's back-off or not: what counts is what stands when it looks.
    await bed.writeLease(own, value('192.168.0.66'))
    await until('the loss', () => node.lost !== undefined)
    expect(node.lost).toBeInstanceOf(LeaseLostError)
    expect((node.lost as LeaseLostError).holder?.subnets[0]?.publicIp).toBe('192.168.0.66')
    expect(await bed.server.ctl('get', '--print-value-only', bed.key(own))).toContain('192.168.0.66')
  })

  test('claims its subnet again where it ran out meanwhile', async () => {
    const { own } = await leaveCache()
    await bed.server.restart()
    await bed.removeLease(own)
    await bed.server.stop()
    const node = await make(1, { cacheFile }).start()
    await bed.server.restart()
    await until('the key', async () => (await bed.keys()).includes(own))
    expect(node.lost).toBeUndefined()
  })

  test('continues where the network config is another one by then, and says that a restart applies it', async () => {
    await leaveCache()
    await bed.server.restart()
    await bed.writeConfig('{"Network":"10.2.0.0/16","Backend":{"Type":"vxlan"}}')
    await bed.server.stop()
    const node = await make(1, { cacheFile }).start()
    await bed.server.restart()
    await until('the notice', () => node.store.health().notice !== undefined)
    expect(node.store.health().notice).toContain('has changed: this node keeps the one that it started with')
    expect(node.lost).toBeUndefined()
    await bed.writeConfig(config)
    await until('no notice', () => node.store.health().notice === undefined)
  })

  test('with a frozen etcd is over after one call', async () => {
    const { own } = await leaveCache()
    await bed.server.restart()
    bed.server.pause()
    const node = await make(1, { cacheFile }, { callTimeoutMs: 1_500 }).start()
    expect(node.lease?.node).toBe(own)
    bed.server.resume()
  })

  test('with an etcd that says nothing at all has its peers long before a call runs into its deadline', async () => {
    const { own, peer } = await leaveCache()
    await bed.server.restart()
    bed.server.pause()
    const node = await make(1, { cacheFile }, { callTimeoutMs: 600_000 }).start()
    expect(node.known).toEqual([own, peer].sort())
    expect(node.lease?.node).toBe(own)
    bed.server.resume()
  })

  test('under another public IP has its lease all the same, and publishes the new address', async () => {
    const { own } = await leaveCache()
    const node = await make(9, { cacheFile }).start()
    expect(node.lease?.node).toBe(own)
    await bed.server.restart()
    await until('the new public IP', async () =>
      (await bed.server.ctl('get', '--print-value-only', bed.key(own))).includes('"192.168.0.9"'),
    )
    expect(node.lost).toBeUndefined()
  })
})

describe('a cache that cannot be used', () => {
  test.each([
    ['is broken', (text: string) => text.replace('10.1.', '10.9.'), 'its checksum is wrong'],
    ['is cut short', (text: string) => text.slice(0, 300), 'it is cut short'],
    ['is empty', () => '', 'it is cut short'],
  ])('because it %s is said once, and etcd waited for', async (_, spoil, reason) => {
    await leaveCache()
    writeFileSync(cacheFile, spoil(readFileOrNothing()))
    const node = make(1, { cacheFile })
    const started = node.start()
    await until('the trouble to show', () => node.store.health().trouble)
    expect(bed.log.said('Cannot use the lease cache')).toEqual([
      `Cannot use the lease cache ${cacheFile}: ${reason}; starting without it`,
    ])
    await bed.server.restart()
    await started
  })

  test('because a value of it is wrong under a right checksum is said once, and etcd waited for', async () => {
    await leaveCache()
    const good = readFileOrNothing().split('\n')[1] ?? ''
    const spoilt: readonly (readonly [RegExp, string, string])[] = [
      [/"leaseId":"\d+"/, '"leaseId":"x"', 'leaseId is no number'],
      [/"modRevision":\d+/, '"modRevision":"x"', 'modRevision is no number'],
      [/"revision":\d+/, '"revision":-1', 'revision is no number'],
      [/"endpoints":\[/, '"elsewhere":[', 'endpoints is no list'],
      [/"remembered":\[\]/, '"remembered":{"x":1}', 'remembered is no list'],
      [/"networkConfig":"/, '"networkConfig":"x', 'Cannot parse the network config'],
      [/"notes":/, `"more":${'['.repeat(5_000)}${']'.repeat(5_000)},"notes":`, 'nested deeper'],
    ]
    for (const [at, wrong, reason] of spoilt) {
      const text = good.replace(at, wrong)
      expect(text, reason).not.toBe(good)
      const sha256 = createHash('sha256').update(text).digest('hex')
      writeFileSync(cacheFile, `${JSON.stringify({ format: 'twill-leases', version: 1, sha256 })}\n${text}\n`)
      const node = make(1, { cacheFile })
      const started = node.start().catch(() => {})
      await until(reason, () => bed.log.said(reason).length === 1)
      expect(bed.log.said(reason)[0]).toMatch(/^Cannot use the lease cache .*; starting without it$/)
      await node.stop()
      await started
    }
    expect(bed.log.said('; starting without it')).toHaveLength(spoilt.length)
  })

  test('because it is of another etcd or another prefix is refused', async () => {
    await leaveCache()
    make(1, { cacheFile, endpoints: ['http://127.0.0.1:1'] })
      .start()
      .catch(() => {})
    await until(
      'the refusal',
      () => bed.log.said(`it is of another etcd, ${bed.server.endpoint}`).length === 1,
    )
    make(1, { cacheFile, prefix: '/other' })
      .start()
      .catch(() => {})
    await until(
      'the refusal',
      () => bed.log.said(`it is of 'etcd ${bed.prefix}', not of 'etcd /other'`).length === 1,
    )
  })

  test('because the network config has changed gives no peers, though etcd answers', async () => {
    await leaveCache()
    await bed.server.restart()
    await bed.writeConfig('{"Network":"10.2.0.0/16","Backend":{"Type":"vxlan"}}')
    const node = await make(1, { cacheFile }).start()
    expect(node.lease?.node).toMatch(/^10\.2\./)
    expect(
      bed.log.said('The network config has changed since the lease cache was written: ignoring its leases')
        .length,
    ).toBe(1)
  })
})

describe('a store that lost its data while we were down', () => {
  test('is noticed by the cache: the peers are kept, and our own subnet is had again', async () => {
    const { own, peer } = await leaveCache()
    await bed.server.restart({ fresh: true })
    const node = await make(1, { cacheFile }).start()
    expect(bed.log.said('etcd has no network config')).toEqual([
      'etcd has no network config, continuing with the one that it had: ETCDCTL_API=3 etcdctl ' +
        `--endpoints=${bed.server.endpoint} put ${bed.prefix}/config '${config}'`,
    ])
    expect(bed.log.said('etcd has lost its data: its revision went back').length).toBe(1)
    expect(node.known).toEqual([own, peer].sort())
    expect(await bed.keys()).toEqual([own])
  })

  test('to an older snapshot and was written since is noticed by our own key, which is older than we wrote it', async () => {
    await make(1, { cacheFile }).start()
    const file = join(folder, 'snapshot')
    await until('the cache', () => readFileOrNothing().includes('"modRevision"'))
    await bed.server.snapshot(file)
    await nodes.at(-1)?.stop()
    const renewing = await make(1, { cacheFile }).start()
    await bed.writeLease('10.1.200.0-24', value('1.2.3.4'))
    await renewing.tables?.until(table => table.size === 2)
    await renewing.stop()
    await bed.server.restore(file)
    for (let i = 0; i < 30; i++) await bed.server.ctl('put', '/filler', String(i))
    const node = await make(1, { cacheFile }).start()
    expect(node.known).toEqual(['10.1.200.0-24', node.lease?.node].sort())
    expect(bed.log.said('etcd has lost its data')).toEqual([
      expect.stringContaining('is not what it held then: an older snapshot was restored'),
    ])
    await until('our key to be written', () => node.store.health().leaseEndsAtMs !== undefined)
    expect(node.lost).toBeUndefined()
  })

  test('does not lead a node to a subnet of a peer that is about to come back', async () => {
    const [first, second] = [make(1, { cacheFile }), make(2)]
    await bed.writeConfig('{"Network":"10.1.0.0/22","SubnetLen":24}')
    await Promise.all([first.start('10.1.1.0/24'), second.start('10.1.2.0/24')])
    await first.tables?.until(table => table.size === 2)
    await until('the cache', () => readFileOrNothing().includes('10.1.2.0'))
    await Promise.all([first.stop(), second.stop()])
    await bed.server.restart({ fresh: true })
    await bed.writeConfig('{"Network":"10.1.0.0/22","SubnetLen":24}')
    await bed.writeLease('10.1.1.0-24', value('192.168.0.66'))
    const node = await make(1, { cacheFile }).start()
    expect(node.lease?.node).toBe('10.1.3.0-24')
  })

  test('has its peers kept for what is left of the grace, over another restart', async () => {
    const { own, peer } = await leaveCache()
    await bed.server.restart({ fresh: true })
    await bed.writeConfig(config)
    const graceMs = 600_000
    const once = await make(1, { cacheFile }, { graceMs }).start()
    await until('the cache', () => /"remembered":\[\["10/.test(readFileOrNothing()))
    await once.stop()
    const later = { now: () => performance.now(), date: () => Date.now() + graceMs - 30_000 }
    const again = await make(1, { cacheFile }, { graceMs, clock: later }).start()
    expect(again.known).toEqual([own, peer].sort())
    await again.tables?.until(table => table.size === 1, 90_000)
    expect(bed.log.said('etcd has lost its data').length).toBe(1)
  })
})
