import { mkdir, mkdtemp, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NodeFiles } from '../../../agent/node_files/node_files.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { runSync } from '../../support/exec.ts'
import { RecordingLog } from '../../support/log.ts'
import { until } from '../../support/until.ts'

const family = { network: parsePrefix('10.244.0.0/16'), subnet: parsePrefix('10.244.1.0/24') }

describe('the files that pods are made from', () => {
  let directory = ''
  let stop: AbortController
  let kept: Promise<unknown>
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'twill-node-files-'))
    stop = new AbortController()
  })
  afterEach(async () => {
    stop.abort()
    await kept.catch(() => {})
    await rm(directory, { recursive: true, force: true, maxRetries: 5 })
  })

  function start(cniConfigFile: string | undefined) {
    const log = new RecordingLog()
    const subnetFile = join(directory, 'subnet.env')
    const checks = { count: 0 }
    const onChange = () => checks.count++
    const files = new NodeFiles({ subnetFile, cniConfigFile, ipMasq: true, log, onChange })
    const node = { families: [family], overlayMtu: 1450 }
    kept = files.keep(() => node, stop.signal)
    return { files, log, node, subnetFile, checks }
  }

  it('are written one after the other, and again when they change', async () => {
    const conflist = join(directory, '10-flannel.conflist')
    const { files, log, node, subnetFile } = start(conflist)
    expect(files.trouble).toBe('subnet.env is not written yet')
    await until('all to be written', () => files.trouble === undefined)
    expect(log.said('written')).toEqual(['subnet.env written', 'CNI network written'])
    expect((await readdir(directory)).sort()).toEqual(['10-flannel.conflist', 'subnet.env'])
    expect(await readFile(subnetFile, 'utf8')).toContain('FLANNEL_IPMASQ=true')
    node.overlayMtu = 1400
    files.review()
    await until('the MTU to be followed', async () =>
      (await readFile(conflist, 'utf8')).includes('"mtu": 1400'),
    )
    expect(await readFile(subnetFile, 'utf8')).toContain('FLANNEL_MTU=1400')
  })

  it('leave the CNI network to others unless asked', async () => {
    const { files } = start(undefined)
    await until('subnet.env to be written', () => files.trouble === undefined)
    expect(await readdir(directory)).toEqual(['subnet.env'])
  })

  it('are said to be missing, once, until they can be written', async () => {
    const blocked = join(directory, 'cni')
    await writeFile(blocked, 'a file where the directory should be')
    const { files, log, checks } = start(join(blocked, '10-flannel.conflist'))
    await until('the failure', () => files.trouble?.startsWith('Cannot write'))
    for (const count of [2, 3, 4]) {
      files.review()
      await until(`check ${count}`, () => checks.count >= count)
    }
    expect(log.said('Cannot write')).toHaveLength(1)
    await rm(blocked)
    files.review()
    await until('the CNI network to be written', () => files.trouble === undefined)
  })

  it.each([
    ['removed', 'missing', (file: string) => rm(file)],
    ['truncated', 'empty', (file: string) => writeFile(file, '')],
    // In one step: a file that is emptied first may be seen so.
    [
      'garbled',
      'different',
      (file: string) => writeFile(file, 'FLANNEL_SUBNET=10.9.9.1/24\n', { flag: 'r+' }),
    ],
    [
      'replaced',
      'different',
      async (file: string) => {
        await writeFile(`${file}.new`, 'x')
        await rename(`${file}.new`, file)
      },
    ],
  ])('are written again at once when they are %s', async (_, was, spoil) => {
    const conflist = join(directory, '10-flannel.conflist')
    const { files, log, subnetFile } = start(conflist)
    await until('all to be written', () => files.trouble === undefined)
    const right = [await readFile(subnetFile, 'utf8'), await readFile(conflist, 'utf8')]
    for (const file of [subnetFile, conflist]) await spoil(file)
    await until('both to be repaired', () => log.said('written again').length === 2)
    expect([await readFile(subnetFile, 'utf8'), await readFile(conflist, 'utf8')]).toEqual(right)
    expect(log.said('written again')).toEqual([
      `subnet.env was ${was}: written again`,
      `CNI network was ${was}: written again`,
    ])
  })

  it('come back with their directory, and are watched in it', async () => {
    const { files, subnetFile, log } = start(join(directory, 'net.d', '10-flannel.conflist'))
    await until('all to be written', () => files.trouble === undefined)
    // In one step: the agent writes the file again while a folder is being emptied.
    await rename(join(directory, 'net.d'), join(directory, 'gone.d'))
    files.review()
    await until('the CNI network to be back', () => log.said('CNI network was missing').length === 1)
    await rm(join(directory, 'net.d', '10-flannel.conflist'))
    await until('it to be back again', () => log.said('CNI network was missing').length === 2)
    expect(await readFile(subnetFile, 'utf8')).toContain('FLANNEL_SUBNET')
  })

  it('come back where a directory above was replaced, of which the kernel tells nothing', async () => {
    const above = join(directory, 'etc')
    const conflist = join(above, 'cni', 'net.d', '10-flannel.conflist')
    const { files } = start(conflist)
    await until('all to be written', () => files.trouble === undefined)
    const right = await readFile(conflist, 'utf8')
    await rename(above, join(directory, 'gone'))
    // A look once a minute would be later than `until` waits.
    await until('the CNI network to be back', () =>
      readFile(conflist, 'utf8').then(
        text => text === right,
        () => false,
      ),
    )
  }, 60_000)

  it('are repaired with back-off, and few lines, where another program does not give in', async () => {
    const { files, log, subnetFile } = start(undefined)
    await until('subnet.env to be written', () => files.trouble === undefined)
    const endMs = performance.now() + 1_500
    while (performance.now() < endMs) {
      await writeFile(subnetFile, 'x')
      await new Promise(resolve => setTimeout(resolve, 2))
    }
    expect(log.said('written again').length).toBeLessThan(8)
    await until('it to be right', async () => (await readFile(subnetFile, 'utf8')).startsWith('FLANNEL'))
  })

  it('name a directory that is in their place, and what to do', async () => {
    await mkdir(join(directory, 'subnet.env'))
    const { files, log, subnetFile } = start(undefined)
    await until('the failure', () => files.trouble?.startsWith('Cannot write'))
    expect(log.said('a directory is in its place')).toHaveLength(1)
    expect(files.trouble).toContain(`remove it (rmdir ${subnetFile})`)
    await rmdir(subnetFile)
    files.review()
    await until('subnet.env to be written', () => files.trouble === undefined)
  })

  it('are written in place where one is a mount of its own', async ({ skip }) => {
    const subnetFile = join(directory, 'subnet.env')
    await writeFile(subnetFile, 'x'.repeat(500))
    if (runSync(['mount', '--bind', subnetFile, subnetFile]).code !== 0) return skip()
    try {
      const { files, log } = start(undefined)
      await until('subnet.env to be written', () => files.trouble === undefined)
      expect(log.lines.map(({ fields }) => fields)).toEqual([
        { file: subnetFile, overlayMtu: 1450, how: 'in place' },
      ])
      expect(await readFile(subnetFile, 'utf8')).toMatch(/^FLANNEL_NETWORK.*FLANNEL_IPMASQ=true\n$/s)
      expect(await readdir(directory)).toEqual(['subnet.env'])
    } finally {
      runSync(['umount', subnetFile])
    }
  })

  it('are warned of, once, where another CNI config sorts first', async () => {
    const conflist = join(directory, '10-flannel.conflist')
    await writeFile(join(directory, '05-cilium.conflist'), '{}')
    await writeFile(join(directory, '05-cilium.conflist.bak'), '{}')
    await writeFile(join(directory, '99-loopback.conf'), '{}')
    const { files, log } = start(conflist)
    await until('all to be written', () => log.said('sorts before').length > 0)
    files.review()
    await rm(join(directory, '05-cilium.conflist'))
    await writeFile(join(directory, '00-other.json'), '{}')
    await until('the other one', () => log.said('CNI config 00-other.json').length > 0)
    expect(log.said('sorts before')).toEqual([
      expect.stringMatching(
        /^CNI config 05-cilium\.conflist sorts before .*10-flannel\.conflist: the container runtime/,
      ),
      expect.stringMatching(/^CNI config 00-other\.json/),
    ])
  })
})
