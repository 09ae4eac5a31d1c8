import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { build } from 'esbuild'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bed, whyNoBed } from './bed.ts'
import { run } from './exec.ts'
import { removeBed } from './leftovers.ts'
import { until } from './until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('a test bed', () => {
  let bed: Bed
  beforeEach(async () => {
    bed = await Bed.create()
  })
  afterEach(() => bed.dispose())

  it('has hosts on a segment that reach each other in both families', async () => {
    const lan = await bed.segment('lan', ['192.168.50.0/24', 'fd50::/64'])
    const [h1, h2] = [await bed.host('h1', lan), await bed.host('h2', lan)]
    expect(await h1.ping('192.168.50.12')).toHaveLength(3)
    expect(await h2.ping('fd50::b')).toHaveLength(3)
    expect(await h1.routes()).toEqual(['192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11'])
  })

  it('has hosts on two segments that reach each other through a router, wherever it came', async () => {
    const a = await bed.segment('a', ['192.168.50.0/24', 'fd50::/64'])
    const b = await bed.segment('b', ['192.168.60.0/24', 'fd60::/64'])
    const h1 = await bed.host('h1', a)
    await bed.router('r', [a, b])
    await bed.host('h2', b)
    expect(await h1.ping('192.168.60.11')).toHaveLength(3)
    expect(await h1.ping('fd60::b')).toHaveLength(3)
    expect(await h1.routes()).toContain('default via 192.168.50.1 dev eth0')
  })

  it('parts and heals hosts without either seeing it at its interface', async () => {
    const lan = await bed.segment('lan', ['192.168.50.0/24'])
    const [h1, h2, h3] = [await bed.host('h1', lan), await bed.host('h2', lan), await bed.host('h3', lan)]
    const once = { count: 1 }
    await lan.cut(h1, h2)
    expect(await h1.ping(h2.address(), once)).toEqual([])
    expect(await h1.ping(h3.address(), once)).toHaveLength(1)
    expect(await h1.exec(['ip', '-br', 'link', 'show', 'eth0'])).toContain('LOWER_UP')
    await lan.heal()
    // The kernel repeats its unanswered ARP request within a second.
    await until('h2 to answer again', async () => (await h1.ping(h2.address(), once)).length === 1)
    await lan.unplug(h1)
    expect(await h1.exec(['ip', '-br', 'link', 'show', 'eth0'])).toContain('NO-CARRIER')
  })

  it('records packets as text', async () => {
    const lan = await bed.segment('lan', ['192.168.50.0/24'])
    const [h1, h2] = [await bed.host('h1', lan), await bed.host('h2', lan)]
    const capture = await h2.capture('eth0', 'icmp')
    await h1.ping(h2.address(), { count: 1 })
    await capture.sees(/ICMP echo request/)
    expect((await capture.stop())[0]).toMatch(/192\.168\.50\.11 > 192\.168\.50\.12: ICMP echo request/)
  })

  it('gives hosts pods behind a bridge that has the first address of their subnet', async () => {
    const lan = await bed.segment('lan', ['192.168.50.0/24'])
    const h1 = await bed.host('h1', lan)
    const network = { gateways: ['10.1.5.1/24', 'fd01:5::1/64'], mtu: 1450 }
    const [p1, p2] = [await h1.pod(network), await h1.pod(network)]
    expect(p2.addresses).toEqual(['10.1.5.3', 'fd01:5::3'])
    expect(await p1.ping(p2.address())).toHaveLength(3)
    expect(await p1.ping('fd01:5::3')).toHaveLength(3)
    expect(await p1.ping('192.168.50.11')).toHaveLength(3)
  })

  it('tells of a command that failed: the command, where, and what it said', async () => {
    const h1 = await bed.host('h1', await bed.segment('lan', ['192.168.50.0/24']))
    await expect(h1.exec(['ip', 'route', 'add', 'nonsense'])).rejects.toThrow(
      /-h1 ip route add nonsense': exit code 1: Error: any valid prefix is expected/,
    )
  })
})

describe.skipIf(why !== undefined)('a test bed that ends', () => {
  it('leaves no namespace, process or file, whatever was running in it', async () => {
    const { id, directory, pid } = await brokenOff()
    expect(await run(['ip', 'netns'])).not.toContain(id)
    expect(existsSync(directory)).toBe(false)
    expect(existsSync(`/proc/${pid}`)).toBe(false)
  })

  it('leaves nothing after Ctrl-C', async () => {
    const { id, child } = await inAnotherProcess()
    expect(await end(child, 'SIGINT')).toEqual({ code: 130, signal: null })
    expect(await run(['ip', 'netns'])).not.toContain(id)
  })

  it('is removed by the next bed where its process was killed', async () => {
    const { id, child } = await inAnotherProcess()
    expect(await run(['ip', 'netns'])).toContain(id)
    // From here on, the bed of another test file may be the next one.
    await end(child, 'SIGKILL')
    await (await Bed.create()).dispose()
    expect(await run(['ip', 'netns'])).not.toContain(id)
    expect(existsSync(`/run/twill-bed/${id}`)).toBe(false)
  })

  it('stays when it is to be kept, until it is taken down', async () => {
    const { id, child } = await inAnotherProcess('bed.keep()')
    await end(child, 'SIGKILL')
    await (await Bed.create()).dispose()
    expect(await run(['ip', 'netns'])).toContain(id)
    removeBed(id)
    expect(await run(['ip', 'netns'])).not.toContain(id)
  })

  async function brokenOff() {
    await using bed = await Bed.create()
    const h1 = await bed.host('h1', await bed.segment('lan', ['192.168.50.0/24']))
    const { pid } = h1.spawn(['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'])
    expect(readdirSync('/run/netns').filter(name => name.startsWith(bed.id))).toHaveLength(2)
    return { id: bed.id, directory: bed.directory, pid }
  }

  /** A bed made by another process: a test can then see what happens to it when that process ends. */
  async function inAnotherProcess(then = '') {
    const contents = `import { Bed } from './bed.ts'
      const bed = await Bed.create()
      const host = await bed.host('h1', await bed.segment('lan', ['192.168.50.0/24']))
      host.spawn(['sleep', '1000'])
      ${then}
      console.log(bed.id)
      setInterval(() => {}, 1000)`
    const stdin = { contents, resolveDir: import.meta.dirname, loader: 'ts' } as const
    const { outputFiles } = await build({
      stdin,
      bundle: true,
      platform: 'node',
      format: 'esm',
      write: false,
    })
    const script = outputFiles[0]?.text ?? ''
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'pipe' })
    const [id] = await once(child.stdout, 'data')
    return { id: String(id).trim(), child }
  }

  async function end(child: ChildProcess, how: NodeJS.Signals) {
    child.kill(how)
    const [code, signal] = await once(child, 'exit')
    return { code, signal }
  }
})
