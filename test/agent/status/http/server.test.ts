import { once } from 'node:events'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { StatusDocument } from '../../../../agent/diagnose/status_document.ts'
import { subnetMap } from '../../../../agent/map/subnet_map.ts'
import { entryKey } from '../../../../agent/state/print.ts'
import type { DetailSource } from '../../../../agent/status/http/details.ts'
import { serveStatus } from '../../../../agent/status/http/server.ts'
import { type AgentStatus, RoundTotals } from '../../../../agent/status/status.ts'
import type { Log } from '../../../../lease/common/log.ts'
import { parseIp } from '../../../../lease/net/ip.ts'
import { parseNetworkConfig } from '../../../../lease/network_config/parser.ts'
import { entry } from '../../../support/entries.ts'
import { vxlanLease } from '../../../support/leases.ts'
import { status } from '../../../support/status.ts'
import { until } from '../../../support/until.ts'

const ip = parseIp('127.0.0.1')
const errors: object[] = []
const log: Log = { trace() {}, debug() {}, info() {}, warn() {}, error: fields => void errors.push(fields) }

const network = parseNetworkConfig('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}')
const table = new Map([['n2', vxlanLease('n2', '02:00:00:00:00:02', '10.244.2.0/24 at 192.168.0.2')]])
let mapsMade = 0
const trouble = 'Cannot read /etc/etcd/key.pem for http://root:hush@192.168.0.9:2379'
const details: DetailSource = {
  toAll: false,
  status: async () => ({ troubles: [trouble] }) as unknown as StatusDocument,
  map: async () => {
    mapsMade++
    return subnetMap({ network, leases: { table, changed: new Set(), problems: [] } }, 'etcd')
  },
}

let now: AgentStatus = status()
let source = () => now
let stop = new AbortController()
let served: Promise<void> = Promise.resolve()
let port = 0

beforeEach(async () => {
  now = status()
  source = () => now
  stop = new AbortController()
  port = await new Promise<number>((resolve, reject) => {
    served = serveStatus({ ip, port: 0 }, () => source(), details, log, stop.signal, resolve)
    served.catch(reject)
  })
})
afterEach(async () => {
  stop.abort()
  await served
})

async function get(path: string, method = 'GET'): Promise<{ code: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method })
  return { code: response.status, text: await response.text() }
}

describe('/healthz', () => {
  it("is well in flanneld's words, also while the agent waits for its store", async () => {
    expect(await get('/healthz')).toEqual({ code: 200, text: 'flanneld is running' })
    now = status({ notReady: ['waiting for the network config'] })
    expect((await get('/healthz?verbose')).code).toBe(200)
  })

  it('is not once a round hangs', async () => {
    let nowMs = 0
    const rounds = new RoundTotals(() => nowMs)
    rounds.add({ fullPass: 'start', results: [], drift: new Set(), contested: new Set(), durationMs: 1 })
    nowMs = 200_000
    now = status({ rounds })
    expect(await get('/healthz')).toEqual({
      code: 503,
      text: 'flanneld is not running:\nthe last full pass ended 200 s ago, and one is due every 60 s: a round hangs\n',
    })
  })
})

describe('/readyz', () => {
  it('goes to 200 and back to 503 with every reason on a line', async () => {
    expect(await get('/readyz')).toEqual({ code: 200, text: 'flanneld is ready' })
    now = status({ notReady: ['the lease is lost', '2 entries fail'] })
    expect(await get('/readyz')).toEqual({
      code: 503,
      text: 'flanneld is not ready yet\nthe lease is lost\n2 entries fail\n',
    })
  })
})

describe('the details of the network', () => {
  it('are a page, a map and a status, made once for all who ask at once', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => get('/map')))
    expect(JSON.parse(answers[19]?.text ?? '')).toMatchObject({ leases: [{ node: 'n2' }] })
    expect((await get('/')).text).toMatch(/^<!doctype html>[\s\S]*data-node="n2"/)
    expect(mapsMade).toBe(1)
  })

  it('name no file of the host and no password', async () => {
    const { text } = await get('/status')
    expect(JSON.parse(text).troubles).toEqual(['Cannot read (file) for http://192.168.0.9:2379'])
  })

  it('are shown to no page of another site that was pointed at this host', async () => {
    const { status: code } = await fetch(`http://127.0.0.1:${port}/map`)
    expect(code).toBe(200)
    const asked = await new Promise<number | undefined>(resolve => {
      const headers = { host: `attacker.example:${port}` }
      request({ host: '127.0.0.1', port, path: '/map', headers }, ({ statusCode }) =>
        resolve(statusCode),
      ).end()
    })
    expect(asked).toBe(403)
  })

  it('can only be read', async () => {
    for (const path of ['/', '/map', '/status']) expect((await get(path, 'POST')).code).toBe(405)
  })
})

describe('/readyz?verbose', () => {
  const checks = [
    { name: 'lease', reasons: [] },
    { name: 'firewall', reasons: ['iptables is missing', 'so is nft'] },
  ]

  it('lists every check as the API server of Kubernetes does', async () => {
    now = status({ checks: checks.slice(0, 1) })
    expect(await get('/readyz?verbose')).toEqual({ code: 200, text: '[+]lease ok\nreadyz check passed\n' })
    now = status({ checks, notReady: ['iptables is missing', 'so is nft'] })
    expect(await get('/readyz?verbose=1')).toEqual({
      code: 503,
      text: '[+]lease ok\n[-]firewall failed: iptables is missing; so is nft\nreadyz check failed\n',
    })
  })
})

describe('/metrics', () => {
  const samples = async () =>
    (await get('/metrics')).text.split('\n').filter(line => /^twill_(?!.*_(bucket|sum|count)\b)/.test(line))

  it('leaves out what is not known', async () => {
    expect(await samples()).toEqual([
      'twill_build_info{version="1.2.3"} 1',
      'twill_ready 1',
      'twill_peers 0',
      'twill_peers_refused 0',
      'twill_entries_contested 0',
      'twill_drift_repaired_total{kind="link"} 0',
      'twill_drift_repaired_total{kind="address"} 0',
      'twill_drift_repaired_total{kind="fdb"} 0',
      'twill_drift_repaired_total{kind="neighbor"} 0',
      'twill_drift_repaired_total{kind="route"} 0',
      'twill_operations_total{result="applied"} 0',
      'twill_operations_total{result="refused"} 0',
      'twill_full_passes_total 0',
      'twill_round_running_seconds 0',
      'twill_store_up 1',
    ])
  })

  it('says how the agent does, and forgets a label that is gone', async () => {
    now = status({
      notReady: ['x'],
      lease: vxlanLease('h1', '02:00:00:00:00:01', '10.244.1.0/24 at 192.168.0.1'),
      peers: 7,
      refused: new Map([['h9', 'overlaps']]),
      failing: [
        { key: 'route 10.244.2.0/24 metric 0', error: 'EINVAL' },
        { key: 'route 10.244.3.0/24 metric 0', error: 'EINVAL' },
        { key: 'link flannel.1', error: 'EEXIST' },
      ],
      store: { lastContactMs: Date.now() - 90_000, trouble: 'connection refused', troubleMs: 60_000 },
    })
    const told = await samples()
    expect(told).toEqual(
      expect.arrayContaining([
        'twill_ready 0',
        'twill_lease_info{subnet="10.244.1.0/24",public_ip="192.168.0.1"} 1',
        'twill_peers 7',
        'twill_peers_refused 1',
        'twill_entries_failing{kind="route"} 2',
        'twill_entries_failing{kind="link"} 1',
        'twill_store_up 0',
        expect.stringMatching(/^twill_since_store_contact_seconds 9\d/),
      ]),
    )
    now = status()
    expect((await samples()).filter(line => /failing|lease_info/.test(line))).toEqual([])
  })

  it('counts full passes and joins by how long they took', async () => {
    let nowMs = 0
    const rounds = new RoundTotals(() => nowMs)
    const route = entry('route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink')
    rounds.joins.storeChanged([entryKey(route)])
    nowMs = 40
    const results = [{ operation: { verb: 'add' as const, entry: route }, error: undefined }]
    rounds.add({ fullPass: 'start', results, drift: new Set(), contested: new Set(), durationMs: 7 })
    now = status({ rounds })
    const { text } = await get('/metrics')
    expect(text).toContain(
      'twill_pass_duration_seconds_bucket{le="0.005"} 0\ntwill_pass_duration_seconds_bucket{le="0.01"} 1\n',
    )
    expect(text).toContain('twill_join_latency_seconds_bucket{le="0.05"} 1\n')
    expect(text).toContain('twill_join_latency_seconds_bucket{le="+Inf"} 1\n')
    expect(text).toContain('twill_join_latency_seconds_sum 0.04\ntwill_join_latency_seconds_count 1\n')
  })

  it('has help and type for each name, as Prometheus asks', async () => {
    const { text } = await get('/metrics')
    expect(text).toContain(
      '# HELP twill_peers Peers that the kernel is programmed for.\n# TYPE twill_peers gauge\n',
    )
    expect(text).toMatch(/^process_resident_memory_bytes \d+$/m)
  })
})

describe('the server', () => {
  it('answers nothing but GET and HEAD of what there is', async () => {
    expect((await get('/nothing')).code).toBe(404)
    expect((await get('/healthz', 'POST')).code).toBe(405)
    expect(await get('/healthz', 'HEAD')).toEqual({ code: 200, text: '' })
  })

  it('answers 500 while the status cannot be read, and 200 afterwards', async () => {
    source = () => {
      throw new Error('no status \u001b[2J')
    }
    expect(await get('/readyz')).toEqual({ code: 500, text: 'no status \\u001b[2J\n' })
    expect(errors).toHaveLength(1)
    source = () => now
    expect((await get('/readyz')).code).toBe(200)
  })

  it('names port and flags where it cannot listen, and ends with its signal all the same', async () => {
    const lines: string[] = []
    const own = new AbortController()
    const listening = { ...log, error: (_: object, text: string) => void lines.push(text) }
    const second = serveStatus({ ip, port }, source, details, listening, own.signal)
    await until('a line', () => lines.length > 0)
    expect(lines).toEqual([
      expect.stringContaining(
        `Cannot listen on 127.0.0.1 port ${port}: listen EADDRINUSE: address already in use`,
      ),
    ])
    expect(lines[0]).toContain('choose others with --healthz-ip and --healthz-port')
    own.abort()
    await second
  })

  it('listens on both families where it is told 0.0.0.0', async () => {
    const own = new AbortController()
    const all = { ip: parseIp('0.0.0.0'), port: 0 }
    let ended: Promise<void> = Promise.resolve()
    const at = await new Promise<number>(resolve => {
      ended = serveStatus(all, source, details, log, own.signal, resolve)
    })
    for (const host of ['127.0.0.1', '[::1]'])
      expect((await fetch(`http://${host}:${at}/healthz`)).status).toBe(200)
    own.abort()
    await ended
  })

  it('closes the oldest idle connection when there are too many, and never one of this host for others', async () => {
    // From 127.0.0.2 to 127.0.0.1: two addresses, as of two hosts.
    const open = async (localAddress: string) => {
      const socket = connect({ host: '127.0.0.1', port, localAddress })
        .on('error', () => {})
        .resume()
      await once(socket, 'connect')
      return socket
    }
    const ask = async (socket: Socket) => {
      socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
      expect(String(await once(socket, 'data'))).toContain('flanneld is running')
    }
    const own = await open('127.0.0.1')
    const asking = await open('127.0.0.2')
    const idle = await Promise.all(Array.from({ length: 63 }, () => open('127.0.0.2')))
    await ask(asking)
    const closed = Promise.race(idle.map(socket => once(socket, 'close')))
    const last = await open('127.0.0.2')
    await closed
    expect([own.destroyed, asking.destroyed, idle.filter(one => one.destroyed).length]).toEqual([
      false,
      false,
      1,
    ])
    await ask(last)
    for (const socket of [own, asking, last, ...idle]) socket.destroy()
  })

  it('closes a connection that asks again before it has its answer: what is not read would fill the memory', async () => {
    const socket = connect({ host: '127.0.0.1', port }).on('error', () => {})
    let asked = 0
    source = () => {
      asked++
      return now
    }
    socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1_000))
    await once(socket.resume(), 'close')
    expect(asked).toBe(1)
    expect((await get('/healthz')).code).toBe(200)
  })

  it('closes a connection that says nothing', async () => {
    const socket = connect({ host: '127.0.0.1', port }).on('error', () => {})
    await once(socket.resume(), 'close')
  })

  it('ends with its signal, though clients are still connected', async () => {
    await get('/healthz')
    stop.abort()
    await served
    await expect(get('/healthz')).rejects.toThrow()
  })
})
