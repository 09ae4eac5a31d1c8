import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NodeFiles } from '../../../agent/node_files/node_files.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
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
    await rm(directory, { recursive: true, force: true })
  })

  function start(cniConfigFile: string | undefined) {
    const log = new RecordingLog()
    const subnetFile = join(directory, 'subnet.env')
    const files = new NodeFiles({ subnetFile, cniConfigFile, ipMasq: true, log })
    const node = { families: [family], overlayMtu: 1450 }
    kept = files.keep(() => node, stop.signal)
    files.review()
    return { files, log, node, subnetFile }
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
    const { files, log } = start(join(blocked, '10-flannel.conflist'))
    await until('the failure', () => files.trouble?.startsWith('Cannot write'))
    files.review()
    await rm(blocked)
    files.review()
    await until('the CNI network to be written', () => files.trouble === undefined)
    expect(log.said('Cannot write')).toHaveLength(1)
  })
})
