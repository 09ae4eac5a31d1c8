import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Bed, whyNoBed } from '../support/bed.ts'
import { attempt, run } from '../support/exec.ts'
import { commandLine } from '../support/process.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('a demo that was killed', () => {
  it('leaves nothing after the next --down: no namespace, no process, no file', async () => {
    const demo = spawn(process.execPath, ['dist/demo.js', '--nodes', '2'], { stdio: 'ignore' })
    const id = await until('its bed', () => bedOf(demo.pid ?? 0))
    await until('its agents', () => processesOf(id).filter(line => line.includes('twilld.js')).length === 2)
    demo.kill('SIGKILL')
    await until('it to be gone', () => demo.signalCode !== null)

    expect(await run([process.execPath, 'dist/demo.js', '--down', id])).toContain(id)
    expect(readdirSync('/run/netns').filter(name => name.startsWith(`${id}-`))).toEqual([])
    expect(existsSync(`/run/twill-bed/${id}`)).toBe(false)
    await until('its processes to be gone', () => processesOf(id).length === 0)
  })
})

describe.skipIf(why !== undefined)('of several demos that are kept', () => {
  it('--down takes the named one, and none where none is named', async () => {
    await using one = await Bed.create({ name: 'demo' })
    await using other = await Bed.create({ name: 'demo' })
    const down = (...words: string[]) => attempt([process.execPath, 'dist/demo.js', '--down', ...words])
    const isUp = ({ id }: Bed) => existsSync(`/run/twill-bed/${id}`)
    for (const bed of [one, other]) bed.keep()

    const unnamed = await down()
    expect(unnamed.code).toBe(2)
    for (const bed of [one, other]) expect(unnamed.stderr).toContain(bed.id)
    expect([isUp(one), isUp(other)]).toEqual([true, true])

    expect((await down(one.id)).stdout).toContain(one.id)
    expect([isUp(one), isUp(other)]).toEqual([false, true])
    expect(await down(one.id)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`There is no demo '${one.id}'`),
    })
  })
})

function bedOf(pid: number): string | undefined {
  const beds = existsSync('/run/twill-bed') ? readdirSync('/run/twill-bed') : []
  return beds.find(id => {
    const file = `/run/twill-bed/${id}/owner.json`
    return existsSync(file) && readFileSync(file, 'utf8').includes(`"pid":${pid},`)
  })
}

/** Command lines that name the bed. */
function processesOf(id: string): string[] {
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name))
  return pids.map(pid => commandLine(pid).join(' ')).filter(line => line.includes(id))
}
