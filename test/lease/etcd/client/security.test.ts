import { execFileSync } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { EtcdClient } from '../../../../lease/etcd/client/client.ts'
import { keysUnder } from '../../../../lease/etcd/client/keys.ts'
import { defaultTuning, type EtcdTuning } from '../../../../lease/etcd/client/tuning.ts'
import type { EtcdOptions } from '../../../../lease/options.ts'
import { ConnectProxy } from '../../../support/connect_proxy.ts'
import {
  type EtcdFiles,
  type EtcdServer,
  type EtcdServerOptions,
  etcdctlLimits,
  startEtcd,
} from '../../../support/etcd.ts'
import { EtcdBed, etcdOptions, fastTuning } from '../../../support/etcd_bed.ts'
import { EtcdNode } from '../../../support/etcd_node.ts'
import { replaceFiles, TestCa } from '../../../support/etcd_tls.ts'
import { runSync } from '../../../support/exec.ts'
import { until } from '../../../support/until.ts'

const config = '{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}'
const peer = '{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"vxlan"}'
let ca: TestCa
beforeAll(() => {
  ca = new TestCa()
})
afterAll(() => ca.remove())

const cleanUps: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

async function start(options: EtcdServerOptions, tuning: Partial<EtcdTuning> = fastTuning) {
  const server = await startEtcd(options)
  cleanUps.push(() => server.remove())
  const bed = new EtcdBed(server, tuning)
  cleanUps.push(() => bed.close())
  await bed.writeConfig(config)
  return { server, bed }
}

function node(bed: EtcdBed, number: number, options: Partial<EtcdOptions>): EtcdNode {
  const made = new EtcdNode(bed, number, options)
  cleanUps.push(() => made.stop())
  return made
}

/** What the node waits for; it keeps waiting until the test ends. */
async function troubleOf(waiting: EtcdNode): Promise<string> {
  waiting.start().catch(() => {})
  return until('the trouble to show', () => waiting.store.health().trouble)
}

describe('TLS', () => {
  test('is used with a CA alone', async () => {
    const { bed } = await start({ tls: ca.issue('server') })
    await node(bed, 1, { caFile: ca.caFile }).start()
  })

  test('is used with a client certificate where the server asks for one', async () => {
    const tls = ca.issue('server')
    const { bed } = await start({ tls, clientCertAuth: true })
    await node(bed, 1, ca.issue('client')).start()
  })

  test('without a CA says that the certificate cannot be verified, and what to give', async () => {
    const { bed, server } = await start({ tls: ca.issue('server') })
    expect(await troubleOf(node(bed, 1, {}))).toMatch(
      new RegExp(
        `^etcd at ${server.endpoint}: .*certificate.*\\(give the CA that signed its certificate.*\\)$`,
      ),
    )
  })

  test('with files that are not there names the file, and continues once it is there', async () => {
    const { bed } = await start({ tls: ca.issue('server') })
    const caFile = join(ca.folder, 'later.pem')
    const waiting = node(bed, 1, { caFile })
    const started = waiting.start()
    expect(await until('the trouble to show', () => waiting.store.health().trouble)).toContain(
      `ENOENT: no such file or directory, open '${caFile}'`,
    )
    copyFileSync(ca.caFile, caFile)
    await started
  })

  test('with a file that is a pipe or without end names the file', async () => {
    const { bed } = await start({ tls: ca.issue('server') })
    const pipe = join(ca.folder, 'pipe')
    runSync(['mkfifo', pipe])
    for (const caFile of [pipe, '/dev/zero'])
      expect(await troubleOf(node(bed, 1, { caFile }))).toContain(
        `cannot read ${caFile}: it is no regular file`,
      )
  })

  test('with an expired certificate says so, and continues once the server has a good one', async () => {
    const tls = ca.issue('aging')
    const { bed, server } = await start({ tls })
    const first = node(bed, 1, { caFile: ca.caFile })
    await first.start()
    await server.stop()
    replaceFiles(tls, ca.issue('old', -1))
    await server.restart({ unready: true })
    await until('the trouble to show', () =>
      first.store.health().trouble?.includes('certificate has expired'),
    )
    expect(first.known.length).toBe(1)
    await server.stop()
    replaceFiles(tls, ca.issue('new'))
    await server.restart()
    await bed.writeLease('10.1.200.0-24', peer)
    await first.tables?.until(table => table.size === 2)
    expect(first.lost).toBeUndefined()
  })

  test('by IP address and by name refuses a certificate that does not bear them', async () => {
    const tls = ca.issue('server')
    const { bed, server } = await start({ tls })
    const byName = { caFile: ca.caFile, endpoints: [server.endpoint.replace('127.0.0.1', 'localhost')] }
    const [first, second] = [node(bed, 1, { caFile: ca.caFile }), node(bed, 2, byName)]
    await Promise.all([first.start(), second.start()])
    await server.stop()
    replaceFiles(tls, ca.issue('another', 1, 'IP:127.0.0.2,DNS:another'))
    await server.restart({ unready: true })
    const trouble = (of: EtcdNode, words: string) =>
      until(words, () => of.store.health().trouble?.includes(words))
    await trouble(first, "IP: 127.0.0.1 is not in the cert's list")
    await trouble(second, "Host: localhost. is not in the cert's altnames")
    replaceFiles(tls, ca.issue('server'))
    await server.restart()
    await bed.writeLease('10.1.200.0-24', peer)
    for (const { tables } of [first, second]) await tables?.until(table => table.size === 3)
  })

  test('continues when CA, server and client certificates are all replaced under the same names', async () => {
    const [before, after] = [new TestCa(), new TestCa()]
    cleanUps.push(
      () => before.remove(),
      () => after.remove(),
    )
    const tls = before.issue('server')
    const { bed, server } = await start({ tls, clientCertAuth: true })
    const client: EtcdFiles = { ...before.issue('client'), caFile: join(before.folder, 'client-ca.pem') }
    copyFileSync(before.caFile, client.caFile)
    const running = node(bed, 1, client)
    await running.start()
    await server.stop()
    const [freshServer, freshClient] = [after.issue('server'), after.issue('client')]
    replaceFiles(tls, freshServer)
    await server.restart()
    await until('the trouble to show', () => running.store.health().trouble)
    replaceFiles(client, freshClient)
    await bed.writeLease('10.1.200.0-24', peer)
    await running.tables?.until(table => table.size === 2)
    await until('no trouble', () => running.store.health().trouble === undefined)
  })
})

test.each([
  [
    'without a client certificate',
    'tls',
    (tls: string) => ({ endpoints: [tls], caFile: ca.caFile }),
    'it asks for a client certificate, or refuses ours (give --etcd-certfile',
  ],
  [
    'by http to a port that speaks TLS',
    'tls',
    (tls: string) => ({ endpoints: [tls.replace('https', 'http')] }),
    'as one that speaks TLS alone does (write https:// for http://)',
  ],
  [
    'by https to a port that does not',
    'plain',
    (plain: string) => ({ endpoints: [plain.replace('http', 'https')] }),
    'it does not speak TLS (write http:// for https://)',
  ],
  [
    'under a name that is none',
    'plain',
    () => ({ endpoints: ['http://no-such-host.invalid:2379'] }),
    'the name no-such-host.invalid:2379 cannot be resolved (check DNS, or write its address)',
  ],
])('a call %s says what to do, once', async (_, kind, options, said) => {
  const { bed, server } = await start(kind === 'tls' ? { tls: ca.issue('server'), clientCertAuth: true } : {})
  const waiting = node(bed, 1, options(server.endpoint))
  waiting.start().catch(() => {})
  // The first of a kind may say that no connection could be made or that it was reset, and the next one why.
  await until(said, () => waiting.store.health().trouble?.includes(said))
  const before = waiting.store.calls
  await until('some more tries', () => waiting.store.calls > before + 4)
  const all = bed.log.said('Cannot')
  expect(all).toEqual([...new Set(all)])
  expect(all.length).toBeLessThanOrEqual(2)
})

test('each request can be logged, and no password is', async () => {
  const { bed } = await start({})
  await node(bed, 1, { username: 'twill', password: 's3cret' }).start()
  const requests = new Set(bed.log.traced.map(({ message }) => message))
  for (const request of ['Auth.authenticate', 'KV.range', 'Lease.leaseGrant', 'KV.txn', 'Watch'])
    expect(requests).toContain(`asked etcd: ${request}`)
  expect(JSON.stringify(bed.log.traced)).not.toContain('s3cret')
})

test('a proxy in the environment is not asked for etcd', async () => {
  const { bed } = await start({})
  vi.stubEnv('http_proxy', 'http://127.0.0.1:1')
  vi.stubEnv('https_proxy', 'http://127.0.0.1:1')
  vi.stubEnv('grpc_proxy', 'http://127.0.0.1:1')
  cleanUps.push(() => {
    vi.unstubAllEnvs()
  })
  await node(bed, 1, {}).start()
  expect(bed.log.said('Cannot')).toEqual([])
})

describe('a proxy that is asked for', () => {
  async function startProxy(tls = false) {
    vi.stubEnv('no_proxy', '127.0.0.1')
    vi.stubEnv('grpc_proxy', '')
    vi.stubEnv('no_grpc_proxy', '')
    cleanUps.push(() => {
      vi.unstubAllEnvs()
    })
    const started = await start(tls ? { tls: ca.issue('server') } : {})
    const proxy = await ConnectProxy.open()
    cleanUps.push(() => proxy.close())
    return { ...started, proxy, options: { proxy: proxy.url, ...(tls && { caFile: ca.caFile }) } }
  }

  test.each([false, true])('carries everything, with TLS: %s', async tls => {
    const { bed, server, proxy, options } = await startProxy(tls)
    await node(bed, 1, options).start()
    const login = Buffer.from('u:s3cret').toString('base64')
    const endpoint = server.endpoint.replace(/^https?:\/\//, '')
    expect(new Set(proxy.asked)).toEqual(new Set([`${endpoint} Basic ${login}`]))
    expect(bed.log.lines[0]?.message).toMatch(/^etcd is asked through the proxy 127\.0\.0\.1:\d+$/)
    expect(JSON.stringify(bed.log.lines)).not.toContain('s3cret')
  })

  test('is named where it refuses', async () => {
    const { bed, server, proxy, options } = await startProxy()
    proxy.answer = 407
    expect(await troubleOf(node(bed, 1, options))).toBe(
      `etcd at ${server.endpoint}: the proxy does not connect us to it (check --etcd-proxy with its user and password, and ` +
        'what the proxy allows)',
    )
  })
})

describe('authentication', () => {
  const login = { username: 'twill', password: 'secret' }

  function setPassword({ endpoint }: EtcdServer, password: string): void {
    const words = [...etcdctlLimits, `--endpoints=${endpoint}`, '--user=root:root', 'user', 'passwd', 'twill']
    execFileSync('etcdctl', words, {
      env: { ...process.env, ETCDCTL_API: '3' },
      input: `${password}\n${password}\n`,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
  }

  async function startWithUsers(options: EtcdServerOptions = {}, tuning: Partial<EtcdTuning> = fastTuning) {
    const { bed, server } = await start(options, tuning)
    for (const words of [
      'user add root:root',
      'user grant-role root root',
      'role add twill',
      `role grant-permission twill --prefix=true readwrite ${bed.prefix}/`,
      'user add twill:secret',
      'user grant-role twill twill',
      'auth enable',
    ])
      await server.ctl(...words.split(' '))
    return { bed, server, asRoot: (...args: string[]) => server.ctl('--user=root:root', ...args) }
  }

  test('by user and password', async () => {
    const { bed } = await startWithUsers()
    await node(bed, 1, login).start()
  })

  test('continues after a restart of etcd, which forgets all tokens', async () => {
    const { bed, server, asRoot } = await startWithUsers()
    const [a, b] = [node(bed, 1, login), node(bed, 2, login)]
    await Promise.all([a.start(), b.start()])
    await server.restart()
    await asRoot('put', bed.key('10.1.200.0-24'), peer)
    for (const one of [a, b]) await one.tables?.until(table => table.size === 3)
    await asRoot('del', bed.key(a.lease?.node ?? ''))
    await until('the key to be back', async () =>
      (await asRoot('get', bed.key(a.lease?.node ?? ''))).includes('192.168.0.1'),
    )
    expect([a.lost, b.lost]).toEqual([undefined, undefined])
  })

  test('with tokens that live two seconds is no trouble worth a word', async () => {
    const [key, pub] = [join(ca.folder, 'jwt.key'), join(ca.folder, 'jwt.pub')]
    execFileSync('openssl', ['genrsa', '-out', key, '2048'], { stdio: 'pipe' })
    execFileSync('openssl', ['rsa', '-in', key, '-pubout', '-out', pub], { stdio: 'pipe' })
    const flag = `--auth-token=jwt,pub-key=${pub},priv-key=${key},sign-method=RS256,ttl=2s`
    const { bed, asRoot } = await startWithUsers({ flags: [flag] }, { ...fastTuning, checkMs: 300 })
    const one = node(bed, 1, login)
    await one.start()
    await new Promise(resolve => setTimeout(resolve, 5_000))
    await asRoot('put', bed.key('10.1.200.0-24'), peer)
    await one.tables?.until(table => table.size === 2)
    expect(bed.log.said('Cannot')).toEqual([])
    expect(one.lost).toBeUndefined()
  })

  test('with a wrong password says so, asks no more often than the back-off, and continues when it is right', async () => {
    const { bed, server, asRoot } = await startWithUsers()
    const waiting = node(bed, 1, { ...login, password: 'wrong' })
    const started = waiting.start()
    const trouble = await until('the trouble to show', () => waiting.store.health().trouble)
    expect(trouble).toBe(
      `etcd at ${server.endpoint}: authentication failed, invalid user ID or password (check user name and password)`,
    )
    const [before, began] = [waiting.store.calls, performance.now()]
    await new Promise(resolve => setTimeout(resolve, 2_000))
    expect(waiting.store.calls - before).toBeLessThanOrEqual((5.5 * (performance.now() - began)) / 1_000)
    expect(bed.log.said('authentication failed').length).toBe(1)
    setPassword(server, 'wrong')
    await asRoot('get', bed.key(''))
    await started
  })

  test('that is off needs no token, and may be switched on and off while nodes run', async () => {
    const { bed, server, asRoot } = await startWithUsers()
    const a = node(bed, 1, login)
    await a.start()
    await asRoot('auth', 'disable')
    const b = node(bed, 2, login)
    await b.start()
    await a.tables?.until(table => table.size === 2)
    await server.restart()
    await server.ctl('put', bed.key('10.1.200.0-24'), peer)
    for (const one of [a, b]) await one.tables?.until(table => table.size === 3)
    await server.ctl('auth', 'enable')
    await asRoot('del', bed.key(a.lease?.node ?? ''))
    await until('the key to be back', async () =>
      (await asRoot('get', bed.key(a.lease?.node ?? ''))).includes('192.168.0.1'),
    )
    await asRoot('put', bed.key('10.1.201.0-24'), peer)
    for (const one of [a, b]) await one.tables?.until(table => table.size === 4)
    await asRoot('user', 'revoke-role', 'twill', 'twill')
    await asRoot('user', 'grant-role', 'twill', 'twill')
    await asRoot('del', bed.key(b.lease?.node ?? ''))
    await until('the key to be back', async () =>
      (await asRoot('get', bed.key(b.lease?.node ?? ''))).includes('192.168.0.2'),
    )
    expect([a.lost, b.lost]).toEqual([undefined, undefined])
    expect(bed.log.said('user name is empty')).toEqual([])
  })

  test('that is switched on while a connection stands without a token: calls and watches ask for one and continue', async () => {
    const { bed, server, asRoot } = await startWithUsers()
    const signal = AbortSignal.timeout(60_000)
    for (const act of ['call', 'watch'] as const) {
      await asRoot('auth', 'disable')
      const client = new EtcdClient(
        { ...etcdOptions([server.endpoint], bed.prefix), ...login },
        { ...defaultTuning, ...fastTuning },
        bed.log,
      )
      cleanUps.push(() => client.close())
      const range = keysUnder(bed.key(''))
      const { revision } = await client.head(range, signal)
      await server.ctl('auth', 'enable')
      if (act === 'call') await client.head(range, signal)
      else for await (const batch of client.watch(range, revision, signal)) if (batch.through === 0) break
    }
  })

  test('without a user says what is missing', async () => {
    const { bed } = await startWithUsers()
    expect(await troubleOf(node(bed, 1, {}))).toContain(
      'user name is empty (etcd has authentication on: give user name and password)',
    )
  })

  test('of a user without permission says what to grant, and continues when it is granted', async () => {
    const { bed, asRoot } = await startWithUsers()
    await asRoot('user', 'revoke-role', 'twill', 'twill')
    const waiting = node(bed, 1, login)
    const started = waiting.start()
    const trouble = await until('the trouble to show', () => waiting.store.health().trouble)
    expect(trouble).toContain('permission denied (grant the user read and write under the prefix)')
    await asRoot('user', 'grant-role', 'twill', 'twill')
    await started
  })

  test('with a password that another has replaced while nodes run waits until it is right again', async () => {
    const { bed, server, asRoot } = await startWithUsers()
    const one = node(bed, 1, login)
    await one.start()
    const own = bed.key(one.lease?.node ?? '')
    // A token outlives the password that it was had for; without one, the new password is asked for.
    setPassword(server, 'another')
    await server.restart()
    await until('the trouble to show', () => one.store.health().trouble?.includes('authentication failed'))
    expect(one.store.health().trouble).toContain('(check user name and password)')
    await asRoot('del', own)
    await asRoot('put', bed.key('10.1.200.0-24'), peer)
    setPassword(server, login.password)
    await one.tables?.until(table => table.has('10.1.200.0-24'))
    await until('the key to be back', async () => (await asRoot('get', own)).includes('192.168.0.1'))
    await until('no trouble', () => one.store.health().trouble === undefined)
    expect(one.lost).toBeUndefined()
  })

  test('of a user who may only read from now on leaves no etcd leases behind, and its key is back when it may write', async () => {
    const { bed, asRoot } = await startWithUsers()
    const one = node(bed, 1, login)
    await one.start()
    const own = bed.key(one.lease?.node ?? '')
    const permission = (type: string) =>
      asRoot('role', 'grant-permission', 'twill', '--prefix=true', type, `${bed.prefix}/`)
    await permission('read')
    await asRoot('del', own)
    await until('the trouble to show', () => one.store.health().trouble?.includes('permission denied'))
    const before = one.store.calls
    await until('some more tries', () => one.store.calls > before + 20)
    const leases = (await asRoot('lease', 'list')).match(/^[0-9a-f]+$/gm) ?? []
    expect(leases.length).toBeLessThanOrEqual(2)
    // What was kept for the next try may be gone by then.
    for (const id of leases) await asRoot('lease', 'revoke', id)
    await permission('readwrite')
    await until('the key to be back', async () => (await asRoot('get', own)).includes('192.168.0.1'))
    expect(one.known).toEqual([one.lease?.node])
    expect(one.lost).toBeUndefined()
  })

  test('is not broken for good by a watch that was refused', async () => {
    const { bed, asRoot } = await startWithUsers()
    const one = node(bed, 1, login)
    await one.start()
    await asRoot('user', 'revoke-role', 'twill', 'twill')
    const server: EtcdServer = bed.server
    await server.restart()
    await until('the trouble to show', () => one.store.health().trouble?.includes('permission denied'))
    await asRoot('user', 'grant-role', 'twill', 'twill')
    await asRoot('put', bed.key('10.1.200.0-24'), peer)
    await one.tables?.until(table => table.size === 2)
    expect(one.lost).toBeUndefined()
  })
})
