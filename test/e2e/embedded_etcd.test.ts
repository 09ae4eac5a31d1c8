import { randomBytes } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { issueCertificate } from '../../lease/etcd/client/certificates.ts'
import { parseJoinToken } from '../../lease/join_token.ts'
import { Bed, whyNoBed } from '../support/bed.ts'
import { etcdctlLimits } from '../support/etcd.ts'
import type { Host } from '../support/host.ts'
import { bothWays, lostWhile, untilReached } from '../support/pings.ts'
import type { Segment } from '../support/segment.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('a first host with no etcd at hand', () => {
  let bed: Bed
  let lan: Segment
  let first: Host
  let second: Host
  beforeEach(async () => {
    bed = await Bed.create({ name: 'first' })
    lan = await bed.segment('lan', ['192.168.50.0/24'])
    ;[first, second] = [await bed.host('h1', lan), await bed.host('h2', lan)]
  })
  afterEach(() => bed.dispose())

  it('runs one of its own, and says the command by which the next host joins', async () => {
    const agent = await first.startAgent({ endpoints: ['http://127.0.0.1:2379'], flags: embedded() })
    const { run, tokenFile } = await agent.logs(/the next host joins with this command/)
    expect(run).toBe(`${resolve('dist/twilld.js')} --join=TOKEN`)
    expect(statSync(`${tokenFile}`).mode & 0o777).toBe(0o600)

    const env = {
      FLANNELD_IFACE: 'eth0',
      FLANNELD_SUBNET_FILE: second.subnetFile,
      FLANNELD_CACHE_FILE: 'none',
      FLANNELD_LOCAL_SOCKET: second.localSocket,
    }
    const command = `${run}`.replace('TOKEN', token())
    const joined = second.spawn(['sh', '-c', `exec ${command}`], { name: 'joined', env })
    await until('the second host to join', () => existsSync(second.subnetFile), {
      otherwise: () => joined.text(),
    })
    const [from, to] = [await first.pod(), await second.pod()]
    await untilReached(from, to.address())
    expect(joined.text()).toMatch(/--join can be read by every process of this host/)
    expect(agent.process.text() + joined.text()).not.toContain(token())
    await joined.stop('SIGTERM')
  })

  it('answers no stranger: without its token no host and no pod reads or writes a lease', async () => {
    await first.startAgent({ endpoints: ['http://127.0.0.1:2379'], flags: embedded() })
    const pod = await first.pod()
    // Outside the network: no subnet that the agent itself could draw.
    const key = '/coreos.com/network/subnets/10.9.9.0-24'
    const etcdctl = (words: readonly string[], limits = etcdctlLimits) =>
      ['env', 'ETCDCTL_API=3', 'etcdctl'].concat(limits, words)
    const put = (more: readonly string[]) =>
      etcdctl([...more, 'put', key, '{}'], ['--dial-timeout=1s', '--command-timeout=1s'])
    for (const port of [2379, 2380]) {
      const url = `https://${first.address()}:${port}`
      const plain = `http://${first.address()}:${port}`
      // The CA of its certificate is no secret; a certificate of another network is none of this one.
      const other = issueCertificate(randomBytes(16))
      const files = Object.entries(other).map(([name, text]) => {
        writeFileSync(join(second.directory, name), text)
        return join(second.directory, name)
      })
      const tls = ['--insecure-skip-tls-verify', `--cert=${files[1]}`, `--key=${files[2]}`]
      for (const more of [
        [`--endpoints=${plain}`],
        [`--endpoints=${url}`, '--insecure-skip-tls-verify'],
        [`--endpoints=${url}`, ...tls],
      ]) {
        expect((await second.attempt(put(more))).code).not.toBe(0)
        expect((await pod.attempt(put(more))).code).not.toBe(0)
      }
    }
    // With the certificate that the token is for, it is done.
    const own = issueCertificate(parseJoinToken(token()).secret)
    const files = Object.entries(own).map(([name, text]) => {
      writeFileSync(join(second.directory, name), text)
      return join(second.directory, name)
    })
    const all = [
      `--endpoints=https://${first.address()}:2379`,
      `--cacert=${files[0]}`,
      `--cert=${files[1]}`,
      `--key=${files[2]}`,
    ]
    expect(await second.exec(etcdctl([...all, 'get', key]))).toBe('')
    expect(await second.exec(etcdctl([...all, 'put', key, '{}']))).toBe('OK\n')
  })

  it('keeps its token in files that root alone can read, and out of the command lines of its children', async () => {
    const agent = await first.startAgent({ endpoints: ['http://127.0.0.1:2379'], flags: embedded() })
    const before = token()
    const folder = join(first.directory, 'etcd')
    // etcd's own files come and go below member/, which find must not even enter.
    const find = ['find', folder, '-path', `${folder}/member`, '-prune', '-o']
    const readable = await first.exec([...find, '-type', 'f', '-perm', '/077', '-print'])
    expect([readable, statSync(folder).mode & 0o777]).toEqual(['', 0o700])
    const lines = [...(await first.commandLines()).values()].map(words => words.join(' ')).join('\n')
    expect(lines).toMatch(/etcd --name=/)
    expect(lines + agent.process.text()).not.toContain(before)
    await agent.stop()
    await first.startAgent({ endpoints: ['http://127.0.0.1:2379'], flags: embedded() })
    expect(token()).toBe(before)
  })

  it('does without TLS only where it is told to, and says so at each start', async () => {
    const flags = [...embedded(), '--embedded-etcd-plain']
    for (let start = 1; start <= 2; start++) {
      const agent = await first.startAgent({ endpoints: ['http://127.0.0.1:2379'], flags })
      const { run } = await agent.logs(/the next host joins with this command/)
      expect(run).toBe(`${resolve('dist/twilld.js')} --etcd-endpoints=http://${first.address()}:2379`)
      const { listensOn } = await agent.logs(
        /--embedded-etcd-plain: the embedded etcd asks for no certificate/,
      )
      expect(listensOn).toEqual(['http://127.0.0.1:2379', `http://${first.address()}:2379`])
      if (start === 2) await second.startAgent({ endpoints: [`http://${first.address()}:2379`] })
      await agent.stop()
    }
  })

  it('that is lost is replaced by the second one: subnets stay, and pods of the others lose no packet', async () => {
    const lost = await first.startAgent({ endpoints: ['http://127.0.0.1:2379'], flags: embedded() })
    const others = [second, await bed.host('h3', lan)] as const
    const joined = await Promise.all(
      others.map(host => host.startAgent({ endpoints: [], flags: [`--join=${tokenFile()}`] })),
    )
    const subnets = () => others.map(host => host.subnetEnv().FLANNEL_SUBNET)
    const before = subnets()
    const [from, to] = [await others[0].pod(), await others[1].pod()]
    await untilReached(from, to.address())
    const missing = await lostWhile(bothWays(from, to), async () => {
      await lost.kill9()
      await first.ip(['link set eth0 down'])

      await Promise.all(joined.map(agent => agent.stop()))
      // Its own etcd, but the network's token: the others accept it, and all know their peers again.
      mkdirSync(join(second.directory, 'etcd'), { mode: 0o700 })
      copyFileSync(tokenFile(), tokenFile(second))
      await second.startAgent({ endpoints: ['http://127.0.0.1:2379'], flags: embedded(second) })
      await others[1].startAgent({ endpoints: [], flags: [`--join=${tokenFile(second)}`] })
      expect(subnets()).toEqual(before)
    })
    expect(missing).toEqual([])
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
      /The embedded etcd needs https:\/\/127\.0\.0\.1:2379, and etcd \(process \d+\) has that port.*systemctl disable --now etcd/,
    )
    await first.startAgent({ endpoints: ['http://127.0.0.1:2479'], flags: embedded() })
  })

  it('answers no browser: no gateway, no other site, no other name', async () => {
    await first.startAgent({
      endpoints: ['http://127.0.0.1:2379'],
      flags: [...embedded(), '--embedded-etcd-plain'],
    })
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
  })

  /** Of the etcd in the first host's namespace alone. */
  async function etcdPids(): Promise<number[]> {
    const processes = [...(await first.commandLines())]
    return processes.flatMap(([pid, [program = '']]) => (basename(program) === 'etcd' ? [pid] : []))
  }

  function embedded(host = first): string[] {
    return ['--embedded-etcd', `--embedded-etcd-dir=${join(host.directory, 'etcd')}`]
  }

  function tokenFile(host = first): string {
    return join(host.directory, 'etcd', 'join-token')
  }

  function token(): string {
    return readFileSync(tokenFile(), 'utf8').trim()
  }
})
