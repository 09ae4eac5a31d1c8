import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exitCode } from '../../../agent/exit_code.ts'
import { type EtcdServer, freePort, startEtcd } from '../../support/etcd.ts'
import { twill } from '../../support/twill.ts'

const prefix = '/coreos.com/network'
const leases = 900

/** In a shell, as an operator types it. */
function shell(line: string) {
  const { status, stdout, stderr } = spawnSync('bash', ['-o', 'pipefail', '-c', line], {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  })
  return { status, stdout, stderr }
}

describe('the output of twill', () => {
  let etcd: EtcdServer
  let map = ''
  const directory = mkdtempSync(join(tmpdir(), 'twill-'))

  beforeAll(async () => {
    etcd = await startEtcd()
    await etcd.ctl('put', `${prefix}/config`, '{"Network":"10.0.0.0/8","Backend":{"Type":"vxlan"}}')
    const put = (key: string, value: string) =>
      fetch(`${etcd.endpoint}/v3/kv/put`, {
        method: 'POST',
        body: JSON.stringify({ key: btoa(key), value: btoa(value) }),
      }).then(response => response.arrayBuffer())
    const mac = (n: number) =>
      `02:00:00:00:${[n >> 8, n & 255].map(b => b.toString(16).padStart(2, '0')).join(':')}`
    for (let n = 1; n <= leases; n++)
      await put(
        `${prefix}/subnets/10.${10 + (n >> 8)}.${n & 255}.0-24`,
        `{"PublicIP":"192.168.${n >> 8}.${n & 255 || 1}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac(n)}"}}`,
      )
    map = `./dist/twill.js map --json --timeout=30 --local-socket= --etcd-endpoints=${etcd.endpoint}`
  })
  afterAll(async () => {
    rmSync(directory, { recursive: true })
    await etcd.remove()
  })

  it('is whole behind a pipe whose reader is slow', () => {
    const { status, stdout } = shell(`${map} | (sleep 1; cat)`)
    expect(status).toBe(0)
    expect(stdout.length).toBeGreaterThan(100_000)
    expect(JSON.parse(stdout).leases).toHaveLength(leases)
  })

  it('is no error where the reader wants no more', () => {
    expect(shell(`${map} | head -n 1`)).toEqual({ status: 0, stdout: '{\n', stderr: '' })
  })

  it('is an error where it cannot be written', () => {
    for (const command of [
      map,
      './dist/twill.js --help',
      './dist/twilld.js --help',
      'node dist/demo.js --help',
    ]) {
      const { status, stderr } = shell(`${command} >/dev/full`)
      expect([command, status, stderr]).toEqual([
        command,
        1,
        expect.stringMatching(/^(twilld?|demo): Cannot write the output: no space left on device\n$/),
      ])
    }
  })

  it.each(['twilld', 'twill', 'demo', 'bench', 'chaos'])(
    'of %s: help and version are on stdout, with code 0',
    name => {
      for (const word of ['--help', '-h', '--version']) {
        const { status, stdout, stderr } = shell(
          `node dist/${name}.js ${word === '-h' && name === 'twill' ? '--help' : word}`,
        )
        expect([word, status, stderr]).toEqual([word, 0, ''])
        expect(stdout).toMatch(word === '--version' ? /^\d+\.\d+\.\d+\n$/ : /--\w+/)
      }
    },
  )

  it('comes from the endpoint that answers first', async () => {
    // Takes connections and says nothing, as a host behind a firewall does.
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as { port: number }
    const endpoints = `http://127.0.0.1:${port},http://127.0.0.1:${await freePort()},${etcd.endpoint}`
    for (const command of ['map --json', 'reserve --subnet=10.9.9.0/24 --public-ip=192.168.9.9'])
      expect(await twill(`${command} --timeout=60 --etcd-endpoints=${endpoints}`)).toMatchObject({
        code: 0,
        err: '',
      })
    silent.close()
  })

  it('names each endpoint with its reason, at once where waiting does not help', async () => {
    const [a, b] = [await freePort(), await freePort()]
    const endpoints = `http://127.0.0.1:${a},http://127.0.0.1:${b},http://no-such-host.invalid:2379`
    const { code, out, err } = await twill(
      `map --timeout=25 --cache-file=/none --etcd-endpoints=${endpoints}`,
    )
    expect({ code, out }).toEqual({ code: exitCode.storeUnreachable, out: '' })
    expect(err).toMatch(
      new RegExp(
        `^twill: No endpoint answers: .*127\\.0\\.0\\.1:${a}.*; .*127\\.0\\.0\\.1:${b}.*; .*no-such-host`,
      ),
    )
  })

  it.each([
    ['a name that is none', '--etcd-endpoints=http://no-such-host.invalid:2379', /cannot be resolved/],
    ['nothing that listens', '--etcd-endpoints=http://127.0.0.1:9', /ECONNREFUSED/],
    [
      'a file of TLS that is missing',
      '--etcd-endpoints=https://127.0.0.1:9 --etcd-cafile=/no-such-file',
      /ENOENT/,
    ],
    [
      'a prefix without a network config',
      '--etcd-prefix=/other --etcd-endpoints=ETCD',
      /has no network config/,
    ],
  ])('ends at once where waiting does not help: %s', async (_, flags, says) => {
    const { err } = await twill(
      `map --timeout=600 --cache-file=/none ${flags.replace('ETCD', etcd.endpoint)}`,
    )
    expect(err).toMatch(says)
    expect(err).not.toContain('within')
  })

  it('takes flags as twilld does', async () => {
    for (const flags of [
      `-etcd-endpoints ${etcd.endpoint} -json -timeout 30`,
      `-etcd-endpoints=${etcd.endpoint} --json=true --kube-subnet-mgr=false -timeout=30`,
      `--etcd-endpoints=${etcd.endpoint} --json --etcd-prefix= --timeout=30`,
    ]) {
      const { code, out, err } = await twill(`map ${flags}`)
      expect([flags, code, err]).toEqual([flags, 0, ''])
      expect(JSON.parse(out).leases.length).toBeGreaterThanOrEqual(leases)
    }
    expect((await twill('map -json=perhaps')).code).toBe(exitCode.badFlag)
  })

  it.each([
    'reserve --subnet=10.1.1.0 --public-ip=192.168.0.1',
    'reserve --subnet=10.1.1.0/24 --public-ip=192.168.0',
    'release --subnet=10.1.1/24',
  ])('is code 2 for an address that is none: %s', async line => {
    expect((await twill(line)).code).toBe(exitCode.badFlag)
  })
})
