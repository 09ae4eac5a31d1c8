import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bed, whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('a first host with no etcd at hand', () => {
  let bed: Bed
  let first: Host
  let second: Host
  beforeEach(async () => {
    bed = await Bed.create({ name: 'first' })
    const lan = await bed.segment('lan', ['192.168.50.0/24'])
    ;[first, second] = [await bed.host('h1', lan), await bed.host('h2', lan)]
  })
  afterEach(() => bed.dispose())

  it('runs one of its own, and says the command by which the next host joins', async () => {
    const agent = await first.startAgent({ endpoints: ['http://127.0.0.1:2379'], flags: embedded() })
    const { run } = await agent.logs(/the next host joins with this command/)
    expect(run).toBe(`${resolve('dist/twilld.js')} --etcd-endpoints=http://${first.address()}:2379`)

    const joined = await second.startAgent({ endpoints: [String(run).split('=')[1] ?? ''] })
    const [from, to] = [await first.pod(), await second.pod()]
    expect(await from.ping(to.addresses[0] ?? '')).toHaveLength(3)
    await joined.stop()
  })

  it('keeps its data, and starts etcd again when that dies', async () => {
    const agent = await first.startAgent({ endpoints: ['http://127.0.0.1:2379'], flags: embedded() })
    const subnet = first.subnetEnv().FLANNEL_SUBNET
    await first.exec(['sh', '-c', `kill -9 ${(await etcdPids()).join(' ')}`])
    await agent.logs(/the embedded etcd ended by itself: starting it again/)
    await until('etcd to answer again', async () => (await etcdPids()).length === 1)

    expect((await agent.stop('SIGINT')).code).toBe(0)
    expect(await etcdPids()).toEqual([])
    await first.startAgent({ endpoints: ['http://127.0.0.1:2379'], flags: embedded() })
    expect(first.subnetEnv().FLANNEL_SUBNET).toBe(subnet)
  })

  it('leaves no etcd behind when it is killed', async () => {
    const agent = await first.startAgent({ endpoints: ['http://127.0.0.1:2379'], flags: embedded() })
    expect(await etcdPids()).toHaveLength(1)
    await agent.kill9()
    await until('etcd to end with its agent', async () => (await etcdPids()).length === 0)
  })

  it('says who has its port instead of taking another etcd for its own, and takes another port', async () => {
    const url = 'http://127.0.0.1:2379'
    const other = first.spawn([
      'etcd',
      `--listen-client-urls=${url}`,
      `--advertise-client-urls=${url}`,
      `--data-dir=${first.directory}/other`,
    ])
    await other.says(/ready to serve client requests/)
    const refused = first.launchAgent({ endpoints: [url], flags: embedded() })
    expect((await refused.process.exited).code).toBe(1)
    expect(refused.process.text()).toMatch(
      /The embedded etcd needs http:\/\/127\.0\.0\.1:2379, and etcd \(process \d+\) has that port.*systemctl disable --now etcd/,
    )
    await first.startAgent({ endpoints: ['http://127.0.0.1:2479'], flags: embedded() })
  })

  it('answers no browser: no gateway, no other site, no other name', async () => {
    const agent = await first.startAgent({ endpoints: ['http://127.0.0.1:2379'], flags: embedded() })
    const ask = (...words: string[]) =>
      first.exec([
        'curl',
        '-s',
        '-o',
        '/dev/null',
        '-w',
        '%{http_code} %header{access-control-allow-origin}',
        ...words,
      ])
    expect(await ask('-d', '{"key":"Lw=="}', 'http://127.0.0.1:2379/v3/kv/range')).toMatch(/^404/)
    expect(await ask('-H', 'Origin: http://evil.example', 'http://127.0.0.1:2379/version')).not.toMatch(
      /\*|evil/,
    )
    expect(await ask('-H', 'Host: evil.example', 'http://127.0.0.1:2379/version')).toMatch(/^(421|403)/)
    const { listensOn } = await agent.logs(/the embedded etcd asks for no password/)
    expect(listensOn).toEqual(['http://127.0.0.1:2379', `http://${first.address()}:2379`])
  })

  /** Of the etcd in the first host's namespace alone. */
  async function etcdPids(): Promise<string[]> {
    const { stdout } = await first.attempt([
      'sh',
      '-c',
      `ip netns pids ${first.netns} | xargs -r ps -o pid=,comm= -p`,
    ])
    return stdout.split('\n').flatMap(line => (/\betcd$/.test(line) ? [line.trim().split(' ')[0] ?? ''] : []))
  }

  function embedded(): string[] {
    return ['--embedded-etcd', `--embedded-etcd-dir=${join(first.directory, 'etcd')}`]
  }
})
