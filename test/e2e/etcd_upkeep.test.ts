import {
  appendFileSync,
  chmodSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { healthPort } from '../support/agent.ts'
import { Bed, whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const MB = 1024 * 1024

describe.skipIf(why !== undefined)('the data of the embedded etcd', () => {
  let bed: Bed
  let host: Host
  let dataDir: string
  beforeEach(async () => {
    bed = await Bed.create({ name: 'upkeep' })
    host = await bed.host('h1', await bed.segment('lan', ['192.168.52.0/24']))
    dataDir = join(host.directory, 'etcd')
  })
  afterEach(() => bed.dispose())

  it('is made smaller where its file is mostly free', async () => {
    const first = await start()
    for (let i = 0; i < 30; i++) await put(`/other/${i}`)
    await etcdctl('del', '--prefix', '/other/')
    const { header } = JSON.parse(await etcdctl('get', '-w', 'json', '/other/'))
    await etcdctl('compaction', '--physical', `${header.revision}`)
    await first.stop()
    const before = statSync(dbFile()).size
    const second = await start()
    await second.logs(/etcd's data file was mostly free: made smaller/, 60_000)
    expect(statSync(dbFile()).size).toBeLessThan(before / 4)
  })

  it('at its size limit is compacted, and writes go through again; what only an operator can delete is said', async () => {
    const bin = join(host.directory, 'bin')
    await host.exec(['mkdir', '-p', bin])
    writeFileSync(join(bin, 'etcd'), `#!/bin/sh\nexec ${etcdPath} --quota-backend-bytes=${20 * MB} "$@"\n`)
    chmodSync(join(bin, 'etcd'), 0o755)
    const agent = await start({ PATH: `${bin}:${process.env.PATH}` })
    while (await tryPut('/other/same'));
    await agent.logs(/etcd takes writes again/, 90_000)
    await put('/other/same')

    let keys = 0
    const isSaid = async () => {
      while (await tryPut(`/other/${keys}`)) keys++
      return /live keys have reached its size limit.*delete them/.test(await readyz())
    }
    await until('/readyz to say what to do', isSaid, { withinMs: 120_000, everyMs: 200 })
    await etcdctl('del', '--prefix', '/other/')
    await until('/readyz to be well again', async () => !/size limit/.test(await readyz()), {
      withinMs: 90_000,
    })
    await put('/other/same')
  }, 300_000)

  it('on a full disk is said with the way out, and etcd runs again once there is space', async () => {
    await host.exec(['mkdir', '-p', dataDir])
    await host.exec(['mount', '-t', 'tmpfs', '-o', 'size=160m', 'tmpfs', dataDir])
    try {
      const agent = await start()
      await host.attempt(['dd', 'if=/dev/zero', `of=${dataDir}/filler`, 'bs=1M'])
      const ended = /the embedded etcd ended by itself/
      let keys = 0
      const isFull = async () => {
        await putOnce(`/other/${keys++}`)
        return agent.log().some(({ msg }) => ended.test(msg))
      }
      await until('the disk to be full', isFull, { withinMs: 90_000 })
      const line = await agent.logs(ended)
      expect(JSON.stringify(line)).toMatch(
        /"why":"the disk of .* is full .*no space left on device.*: free space there/,
      )
      expect(await readyz()).toMatch(/the embedded etcd does not run: the disk of .* is full/)
      await host.exec(['rm', `${dataDir}/filler`])
      await agent.logs(/the embedded etcd serves again/, 60_000)
      await until('the node to be ready again', async () => !/embedded etcd/.test(await readyz()))
      await agent.stop()
    } finally {
      await host.attempt(['umount', '-l', dataDir])
    }
  }, 200_000)

  it.each(['the database', 'the log'])(
    'that is damaged in %s is said with the way out, and pods keep their network',
    async part => {
      const first = await start()
      const subnet = host.subnetEnv().FLANNEL_SUBNET
      await first.stop()
      if (part === 'the database') {
        truncateSync(dbFile(), 0)
        appendFileSync(dbFile(), Buffer.alloc(20_480, 0xa5))
      } else
        await host.exec([
          'sh',
          '-c',
          `printf '\\377\\377\\377\\377' | dd of=$(ls ${dataDir}/member/wal/0*.wal) bs=1 seek=120 conv=notrunc`,
        ])
      const damaged = host.launchAgent({ endpoints: [], flags: flags() })
      const { why } = await damaged.logs(/the embedded etcd ended by itself/, 60_000)
      expect(why).toMatch(/member is damaged .*: stop the agent, move .*member away/)
      await until('/readyz to say it', async () =>
        /the embedded etcd does not run: its data in .* is damaged/.test(await readyz()),
      )
      expect(await host.exec(['ip', '-br', 'address', 'show', 'flannel.1'])).toContain(
        `${subnet?.replace(/1\/24$/, '0')}/32`,
      )
      await damaged.stop()
      renameSync(join(dataDir, 'member'), join(dataDir, 'member.broken'))
      await start()
      expect(host.subnetEnv().FLANNEL_SUBNET).toBe(subnet)
    },
    120_000,
  )

  it('is backed up whole by a command, into a file for its owner alone, and is restored as that prints it', async () => {
    const first = await start()
    await put('/other/kept')
    const file = join(host.directory, 'backup')
    const twill = [process.execPath, 'dist/twill.js', 'etcd-backup', `--embedded-etcd-dir=${dataDir}`, file]
    const said = await host.exec(twill)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(said).not.toContain(readFileSync(join(dataDir, 'join-token'), 'utf8').trim())
    await put('/other/later')
    await first.stop()
    const { code, stderr } = await host.attempt(twill)
    expect([code, stderr]).toEqual([4, expect.stringContaining('Cannot back up etcd: etcd at https://')])
    expect(readdirSync(host.directory).filter(name => name.startsWith('.backup'))).toEqual([])

    renameSync(join(dataDir, 'member'), join(dataDir, 'member.broken'))
    await host.exec(['sh', '-euc', said.split('\n')[1] ?? ''])
    await start()
    expect(await etcdctl('get', '--prefix', '--keys-only', '/other/')).toBe('/other/kept\n\n')
    await until('the restored member to know its address', async () =>
      (await etcdctl('member', 'list')).includes(`https://${host.address()}:2380`),
    )
  })

  function start(env: Record<string, string> = {}) {
    return host.startAgent({ endpoints: [], flags: flags(), env })
  }

  function flags(): string[] {
    return ['--embedded-etcd', `--embedded-etcd-dir=${dataDir}`]
  }

  function dbFile(): string {
    return join(dataDir, 'member', 'snap', 'db')
  }

  async function readyz(): Promise<string> {
    return (await host.httpGet(healthPort, '/readyz?verbose'))?.body ?? ''
  }

  async function put(key: string): Promise<void> {
    expect(await tryPut(key)).toBe(true)
  }

  /** False where etcd has no space for it; one that is slow to answer is asked again. */
  async function tryPut(key: string): Promise<boolean> {
    const answer = async () => {
      const { code, stderr } = await putOnce(key)
      if (code === 0) return 'put'
      return stderr.includes('database space exceeded') && 'no space'
    }
    return (await until('etcd to answer', answer)) === 'put'
  }

  function putOnce(key: string) {
    return host.attempt(ctl('put', key), { input: 'x'.repeat(MB - 1024) })
  }

  function etcdctl(...words: readonly string[]): Promise<string> {
    return host.exec(ctl(...words))
  }

  /** As the README has it: with the files that the agent made for etcd. */
  function ctl(...words: readonly string[]): string[] {
    const tls = [
      `--cacert=${dataDir}/tls/ca.pem`,
      `--cert=${dataDir}/tls/host.pem`,
      `--key=${dataDir}/tls/host.pem`,
    ]
    return [
      'env',
      'ETCDCTL_API=3',
      'etcdctl',
      '--endpoints=https://127.0.0.1:2379',
      '--command-timeout=10s',
      ...tls,
      ...words,
    ]
  }
})

const etcdPath = '/usr/bin/etcd'
