import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { deviceClaims, fileClaims } from '../../../agent/instance/claims.ts'
import { findHolder, HeldError, Locks } from '../../../agent/instance/lock.ts'
import { runSync } from '../../support/exec.ts'

const { signal } = new AbortController()
const [device] = deviceClaims([`flannel.${process.pid}`]) as [ReturnType<typeof deviceClaims>[number]]

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
    const squatter = `require('node:net').createServer().listen('\\0twill/${device.key}', () => console.log('up'))`
    const { spawn } = await import('node:child_process')
    if (runSync(['setpriv', '--reuid=65534', 'true']).code !== 0) return skip()
    const child = spawn('setpriv', ['--reuid=65534', process.execPath, '-e', squatter])
    await new Promise(resolve => child.stdout.once('data', resolve))
    const locks = new Locks('1.0')
    expect(await findHolder(device)).toMatchObject({ isOwnUser: false })
    await locks.take([device], signal)
    child.kill()
  })
})
