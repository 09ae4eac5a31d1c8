import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { defaultTuning } from '../../../../lease/etcd/client/tuning.ts'
import { ConfigKey } from '../../../../lease/etcd/network_config/config_key.ts'
import type { EtcdContext } from '../../../../lease/etcd/records/context.ts'
import { NetworkConfigError } from '../../../../lease/network_config/network_config.ts'
import { type EtcdServer, startEtcd } from '../../../support/etcd.ts'
import { EtcdBed, etcdOptions } from '../../../support/etcd_bed.ts'
import { run } from '../../../support/exec.ts'
import { RecordingLog } from '../../../support/log.ts'
import { until } from '../../../support/until.ts'

let server: EtcdServer
beforeAll(async () => {
  server = await startEtcd()
})
afterAll(() => server.remove())

test('a missing network config is logged once, with a command that stores one when it is pasted into a shell', async () => {
  const bed = new EtcdBed(server)
  const stop = new AbortController()
  const waiting = bed.openNode({ endpoints: [`${server.endpoint}/`] }).networkConfig(stop.signal)
  await until('the log to say so', () => bed.log.lines.length > 0)
  await new Promise(resolve => setTimeout(resolve, 1_000))
  const messages = bed.log.lines.map(line => line.message)
  expect(messages).toEqual([
    `etcd has no network config, waiting for it: ETCDCTL_API=3 etcdctl --endpoints=${server.endpoint} ` +
      `put ${bed.prefix}/config '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'`,
  ])
  await run(['sh', '-c', messages[0]?.split('waiting for it: ')[1] ?? 'false'])
  expect((await waiting).families.map(family => family.network)).toEqual(['10.244.0.0/16'])
  await bed.close()
})

test('the command names the TLS files and the user that the node was given, not the password', async () => {
  const bed = new EtcdBed(server)
  const stop = new AbortController()
  const store = bed.openNode({
    caFile: '/etc/ca.pem',
    certFile: '/etc/cert.pem',
    keyFile: '/etc/key.pem',
    username: 'twill',
    password: 'secret',
  })
  const waiting = store.networkConfig(stop.signal)
  waiting.catch(() => {})
  // This etcd asks for no password, which is no trouble: the node gets as far as to miss the network config.
  await until('the log to print the command', () => bed.log.said('put ').length === 1)
  const [line] = bed.log.said('put ')
  expect(line).toMatch(/--cacert=\/etc\/ca.pem --cert=\/etc\/cert.pem --key=\/etc\/key.pem --user=twill/)
  expect(JSON.stringify(bed.log.lines)).not.toContain('secret')
  stop.abort()
  await bed.close()
})

test('a missing network config is found where flannel users often have it', async () => {
  const bed = new EtcdBed(server)
  const stop = new AbortController()
  await server.ctl('put', '/flannel/network/config', '{"Network":"10.9.0.0/16"}')
  try {
    const store = bed.openNode()
    const waiting = store.networkConfig(stop.signal)
    await until('the log to say so', () => bed.log.said('there is one under').length === 1)
    expect(bed.log.lines[0]?.message).toMatch(
      /; there is one under \/flannel\/network\/config: set --etcd-prefix=\/flannel\/network if it is yours$/,
    )
    expect(store.health().notice).toContain('there is one under /flannel/network/config')
    await bed.writeConfig('{"Network":"10.1.0.0/16"}')
    expect((await waiting).families[0]?.network).toBe('10.1.0.0/16')
    expect(store.health().notice).toBeUndefined()
  } finally {
    await server.ctl('del', '/flannel/network/config')
    await bed.close()
  }
})

test.each(['{"Network":"10.1.0.0/16",}', '{"Network":"0.0.0.0/0"}', 'x'.repeat(70_000)])(
  'one that cannot be used is said once and waited for, unless asked otherwise: %.30s',
  async text => {
    const bed = new EtcdBed(server)
    const stop = new AbortController()
    await bed.writeConfig(text)
    const [store, strict] = [bed.openNode(), bed.openNode()]
    await expect(strict.networkConfig(stop.signal, { onInvalid: 'reject' })).rejects.toBeInstanceOf(
      NetworkConfigError,
    )
    const waiting = store.networkConfig(stop.signal)
    await until('the notice', () => store.health().notice !== undefined)
    await bed.writeConfig('{"Network":"10.1.0.0/16","vni":7}')
    expect((await waiting).families[0]?.network).toBe('10.1.0.0/16')
    expect(bed.log.said('cannot be used')).toHaveLength(1)
    expect(bed.log.said('cannot be used')[0]?.length).toBeLessThan(1_000)
    expect(bed.log.said('VNI of the network config is ignored: it belongs into Backend')).toHaveLength(1)
    await bed.close()
  },
)

/** A node with a cached network config, and an etcd that answers as given. */
function nodeWithCache(answer: () => Promise<{ kvs: { value: string }[] }>) {
  const text = '{"Network":"10.1.0.0/16"}'
  const lastSeen = {
    networkConfig: text,
    savedAtMs: 0,
    unconfirmedConfig: undefined,
    sawNetworkConfig: () => {},
  }
  const log = new RecordingLog()
  const client = { range: answer, wasReset: false, endpoints: [] }
  const retrier = { untilOr: (_: string, read: () => Promise<unknown>) => read() }
  const ctx = { client, lastSeen, retrier, log, tuning: defaultTuning, configKey: '/x/config' }
  const key = new ConfigKey(ctx as unknown as EtcdContext, etcdOptions([], '/x'))
  return { start: () => key.wait(new AbortController().signal, {}), lastSeen, log, text }
}

test('the cached config is unconfirmed only where etcd was too slow, not later, once etcd has answered', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    const quick = nodeWithCache(async () => ({ kvs: [{ value: quick.text }] }))
    await quick.start()
    expect(vi.getTimerCount()).toBe(0)
    await vi.advanceTimersByTimeAsync(10 * defaultTuning.cacheAfterMs)
    expect(quick.lastSeen.unconfirmedConfig).toBeUndefined()
    expect(quick.log.lines).toEqual([])

    const silent = nodeWithCache(() => new Promise(() => {}))
    const started = silent.start()
    await vi.advanceTimersByTimeAsync(defaultTuning.cacheAfterMs)
    await started
    expect(silent.lastSeen.unconfirmedConfig).toBe(silent.text)
    expect(silent.log.said('etcd has not answered yet')).toHaveLength(1)
  } finally {
    vi.useRealTimers()
  }
})

test('the cached config is not used because of a timer that ends after etcd has failed to answer', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    let calls = 0
    const node = nodeWithCache(async () => {
      if (calls++ === 0) throw new Error('refused')
      return { kvs: [{ value: node.text }] }
    })
    await node.start()
    await vi.advanceTimersByTimeAsync(10 * defaultTuning.cacheAfterMs)
    expect(node.lastSeen.unconfirmedConfig).toBeUndefined()
  } finally {
    vi.useRealTimers()
  }
})
