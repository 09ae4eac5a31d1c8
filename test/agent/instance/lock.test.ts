import { once } from 'node:events'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import koffi from 'koffi'
import { afterAll, describe, expect, it } from 'vitest'
import { deviceClaims, fileClaims } from '../../../agent/instance/claims.ts'
import { findHolder, HeldError, Locks } from '../../../agent/instance/lock.ts'
import { runSync } from '../../support/exec.ts'

const { signal } = new AbortController()
const [device] = deviceClaims([`flannel.${process.pid}`]) as [ReturnType<typeof deviceClaims>[number]]

const libc = koffi.load('libc.so.6')
const calls = {
  socket: libc.func('int socket(int, int, int)'),
  bind: libc.func('int bind(int, const uint8_t *, uint32_t)'),
  connect: libc.func('int connect(int, const uint8_t *, uint32_t)'),
  listen: libc.func('int listen(int, int)'),
  close: libc.func('int close(int)'),
}
/** #define AF_UNIX 1, SOCK_STREAM 1, SOCK_NONBLOCK 04000 */
const streamSocket = (): number => calls.socket(1, 1 | 0o4000, 0)
/** struct sockaddr_un, its name filled up with zeros. */
const address = (key: string): Buffer => Buffer.concat([Buffer.from(`\x01\0\0twill/${key}`)], 110)

describe('a lock', () => {
  it('is held by one agent, which says who it is, and is free after it', async () => {
    const [first, second] = [new Locks('1.0'), new Locks('2.0')]
    expect(await findHolder(device)).toBeUndefined()
    await first.take([device], signal)
    expect(await findHolder(device)).toMatchObject({ isOwnUser: true })
    expect((await findHolder(device))?.says).toMatch(/^twilld 1\.0, process \d+ on .*, started 20/)
    const refused = second.take([device], signal)
    await expect(refused).rejects.toThrow(HeldError)
    await expect(refused).rejects.toThrow(
      /^Another agent on this host has device flannel\.\d+: twilld 1\.0, process \d+/,
    )
    const waiting = second.take([device], signal)
    first.release()
    await waiting
    expect((await findHolder(device))?.says).toContain('twilld 2.0')
    second.release()
    expect(await findHolder(device)).toBeUndefined()
  })

  it('has one name for every release of Node.js: Node.js 20 pads it, later ones bind the exact length', async () => {
    const locks = new Locks('1.0')
    await locks.take([device], signal)
    const socket = streamSocket()
    expect(calls.connect(socket, address(device.key), 110)).toBe(0)
    calls.close(socket)
    locks.release()
  })

  it('of a file knows it by whatever path it is reached', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'twill-'))
    afterAll(() => rmSync(directory, { recursive: true }))
    symlinkSync(directory, `${directory}/link`)
    const [a, b, c] = await fileClaims([
      `${directory}/subnet.env`,
      `${directory}/link/subnet.env`,
      `${directory}/new/subnet.env`,
    ])
    expect(a?.key).toBe(b?.key)
    expect(a?.key).not.toBe(c?.key)
    expect(await fileClaims([undefined, '/dev/null/x'])).toEqual([])
  })

  it('that a process of another user has keeps no agent from starting', async ({ skip }) => {
    const squatter = `require('node:net').createServer().listen('\\0twill/${device.key}'.padEnd(108, '\\0'), () => console.log('up'))`
    const { spawn } = await import('node:child_process')
    if (runSync(['setpriv', '--reuid=65534', 'true']).code !== 0) return skip()
    const child = spawn('setpriv', ['--reuid=65534', process.execPath, '-e', squatter])
    await new Promise(resolve => child.stdout.once('data', resolve))
    const locks = new Locks('1.0')
    expect(await findHolder(device)).toMatchObject({ isOwnUser: false })
    await locks.take([device], signal)
    child.kill()
  })

  it('whose socket accepts no connection keeps no agent from starting', async () => {
    const [bound, full] = deviceClaims([`b.${process.pid}`, `f.${process.pid}`])
    if (bound === undefined || full === undefined) throw new Error('two claims are expected')
    const sockets: number[] = []
    const open = (address: Buffer, call: 'bind' | 'connect') => {
      const socket = streamSocket()
      sockets.push(socket)
      return { socket, result: calls[call](socket, address, address.length) }
    }
    expect(open(address(bound.key), 'bind').result).toBe(0)
    expect(calls.listen(open(address(full.key), 'bind').socket, 0)).toBe(0)
    expect([1, 2].map(() => open(address(full.key), 'connect').result)).toEqual([0, -1])
    const locks = new Locks('1.0')
    await locks.take([bound, full], signal)
    locks.release()
    for (const one of sockets) calls.close(one)
  })

  it('whose holder writes without end is read no further than an answer is long', async () => {
    const [endless] = deviceClaims([`e.${process.pid}`])
    if (endless === undefined) throw new Error('a claim is expected')
    let written = 0
    const server = createServer(socket => {
      const write = () => {
        while (!socket.destroyed && socket.write('x'.repeat(10_000))) written += 10_000
      }
      socket.on('drain', write).on('error', () => {})
      write()
    }).listen(`\0twill/${endless.key}`.padEnd(108, '\0'))
    await once(server, 'listening')
    expect(await findHolder(endless)).toEqual({ says: 'x'.repeat(200), isOwnUser: true })
    expect(written).toBeLessThan(5_000_000)
    server.close()
  })
})
