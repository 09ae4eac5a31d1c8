import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type EtcdServer, startEtcd } from '../../../support/etcd.ts'
import { until } from '../../../support/until.ts'

const prefix = '/coreos.com/network'

describe('twill map on a terminal', () => {
  let etcd: EtcdServer
  const started: ChildProcess[] = []
  const put = (n: number) =>
    etcd.ctl(
      'put',
      `${prefix}/subnets/10.244.${n}.0-24`,
      `{"PublicIP":"192.168.0.${n}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:0${n}"}}`,
    )

  beforeAll(async () => {
    etcd = await startEtcd()
    await etcd.ctl('put', `${prefix}/config`, '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}')
    for (const n of [1, 2]) await put(n)
  })
  afterAll(async () => {
    for (const child of started) child.kill('SIGKILL')
    await etcd.remove()
  })

  /** script(1) gives it a terminal. */
  function onTerminal(flags: string, columns = 80, env: NodeJS.ProcessEnv = { NO_COLOR: undefined }) {
    const line = `stty cols ${columns} rows 40; exec ${process.execPath} dist/twill.js map --local-socket= --timeout=60 --etcd-endpoints=${etcd.endpoint} ${flags}`
    const child = spawn('script', ['-qefc', line, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm', ...env },
    })
    started.push(child)
    const screen = { text: '' }
    child.stdout.setEncoding('utf8').on('data', part => {
      screen.text += part
    })
    return { child, screen, ended: once(child, 'close') }
  }

  it('follows the leases: a changed row stands out, and Ctrl-C brings the shell back', async () => {
    const { child, screen, ended } = onTerminal('--watch')
    await until('the leases', () => screen.text.includes('10.244.2.0/24'))
    expect(screen.text.startsWith('\x1b[?1049h\x1b[?25l')).toBe(true)
    expect(screen.text).not.toContain('\x1b[7m')
    await put(3)
    await until('the change to stand out', () => screen.text.includes('\x1b[7m10.244.3.0-24'))
    expect(screen.text).not.toContain('\x1b[7m10.244.1.0-24')
    // As a terminal sends it.
    child.stdin.write('\x03')
    const [code] = await ended
    expect(screen.text.endsWith('\x1b[?25h\x1b[?1049l')).toBe(true)
    expect(code).toBe(0)
  })

  it('keeps to the width, and shows more where there is more', async () => {
    await etcd.ctl('put', `${prefix}/subnets/10.244.9.0-24`, '{"PublicIP":"127.0.0.1","PublicIPv6":null}')
    const heads: string[] = []
    for (const columns of [80, 160]) {
      const { screen, ended } = onTerminal('', columns)
      await ended
      const lines = stripVTControlCharacters(screen.text).split(/\r?\n/)
      const from = lines.findIndex(line => line.startsWith('NODE'))
      const table = lines.slice(from, lines.indexOf('', from))
      expect(table.length).toBeGreaterThan(3)
      expect(table.filter(line => line.length > columns)).toEqual([])
      heads.push(table[0] ?? '')
      // The refused lease is red.
      expect(screen.text).toContain('\x1b[31m10.244.9.0-24')
    }
    expect(heads[0]).not.toContain('VTEP MAC')
    expect(heads[1]).toContain('VTEP MAC')
  })

  it('has no colour where NO_COLOR asks for none', async () => {
    const { screen, ended } = onTerminal('', 80, { NO_COLOR: '1' })
    await ended
    expect(screen.text).toContain('10.244.9.0-24')
    expect(screen.text).not.toContain('\x1b[')
  })
})
