import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readPreviousSubnets, renderSubnetEnv } from '../../../agent/node_files/subnet_env.ts'
import { readWhole, WholeFileError, writeWhole } from '../../../lease/common/replace_file.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { attempt } from '../../support/exec.ts'

const v4 = { network: parsePrefix('10.244.0.0/16'), subnet: parsePrefix('10.244.1.0/24') }
const v6 = { network: parsePrefix('fd00:10::/48'), subnet: parsePrefix('fd00:10:0:1::/64') }
const never = new AbortController().signal

describe('subnet.env', () => {
  it('is what flanneld writes', () => {
    expect(renderSubnetEnv({ families: [v4], overlayMtu: 1450, ipMasq: true })).toBe(
      'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n',
    )
  })

  it('holds both families, IPv4 first', () => {
    expect(renderSubnetEnv({ families: [v4, v6], overlayMtu: 1430, ipMasq: false }).split('\n')).toEqual([
      'FLANNEL_NETWORK=10.244.0.0/16',
      'FLANNEL_SUBNET=10.244.1.1/24',
      'FLANNEL_IPV6_NETWORK=fd00:10::/48',
      'FLANNEL_IPV6_SUBNET=fd00:10:0:1::1/64',
      'FLANNEL_MTU=1430',
      'FLANNEL_IPMASQ=false',
      '',
    ])
  })

  it('of IPv6 alone names no IPv4', () => {
    expect(renderSubnetEnv({ families: [v6], overlayMtu: 1430, ipMasq: false })).not.toContain(
      'FLANNEL_SUBNET',
    )
  })
})

describe('an earlier subnet.env', () => {
  it('gives back the subnets that were written', () => {
    const text = renderSubnetEnv({ families: [v4, v6], overlayMtu: 1450, ipMasq: false })
    expect(readPreviousSubnets(text)).toEqual([v4.subnet, v6.subnet])
  })

  it('may hold lists and nonsense', () => {
    const text =
      'FLANNEL_SUBNET=10.1.2.1/24, 10.1.3.1/24,x,10.1.4.1\n#\nFLANNEL_IPV6_SUBNET=\nFLANNEL_SUBNETS=10.9.9.1/24'
    expect(readPreviousSubnets(text)).toEqual(['10.1.2.0/24', '10.1.3.0/24'])
    expect(readPreviousSubnets('')).toEqual([])
  })
})

describe('writing subnet.env', () => {
  let directory = ''
  let path = ''
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'twill-subnet-env-'))
    path = join(directory, 'run', 'flannel', 'subnet.env')
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  it('makes the directory, and a file that all may read', async () => {
    expect(await writeWhole(path, 'A=1\n', never)).toBe(true)
    expect(await readFile(path, 'utf8')).toBe('A=1\n')
    expect((await stat(path)).mode & 0o777).toBe(0o644)
    expect((await stat(join(directory, 'run'))).mode & 0o777).toBe(0o755)
    expect(await readdir(join(directory, 'run', 'flannel'))).toEqual(['subnet.env'])
  })

  it('leaves a file alone that says the same, and replaces one that does not as a whole', async () => {
    await writeWhole(path, 'A=1\n', never)
    const { ino } = await stat(path)
    expect(await writeWhole(path, 'A=1\n', never)).toBe(false)
    expect((await stat(path)).ino).toBe(ino)
    expect(await writeWhole(path, 'A=2\n', never)).toBe(true)
    expect((await stat(path)).ino).not.toBe(ino)
  })

  it('names the file and the reason where it cannot be written, and leaves no draft', async () => {
    await writeFile(join(directory, 'run'), 'a file where the directory should be')
    await expect(writeWhole(path, 'A=1\n', never)).rejects.toThrow(WholeFileError)
    await expect(writeWhole(path, 'A=1\n', never)).rejects.toThrow(
      /^Cannot write .*subnet\.env: (ENOTDIR|EEXIST)/,
    )
    expect(await readdir(directory)).toEqual(['run'])
  })

  it('keeps the old file on a full tmpfs, where an empty one could be renamed into place', async () => {
    const script = join(directory, 'write.mjs')
    await build({
      stdin: {
        contents: `import { writeWhole } from './lease/common/replace_file.ts'
          await writeWhole(process.argv[2], 'NEW='.padEnd(6000, 'x'), new AbortController().signal)
            .catch(error => console.log(error.name))`,
        resolveDir: process.cwd(),
      },
      bundle: true,
      platform: 'node',
      format: 'esm',
      outfile: script,
      banner: {
        js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)",
      },
    })
    const steps = [
      'mount -t tmpfs -o size=16k tmpfs /mnt && cd /mnt && echo OLD=1 > subnet.env',
      'dd if=/dev/zero of=filler bs=4k 2>/dev/null; : > empty && mv empty renamed',
      `"$1" "$2" /mnt/subnet.env; cat subnet.env; ls`,
    ].join('; ')
    const said = await attempt(['unshare', '--mount', 'sh', '-c', steps, 'sh', process.execPath, script])
    expect(said.stdout.trim().split('\n')).toEqual([
      'WholeFileError',
      'OLD=1',
      'filler',
      'renamed',
      'subnet.env',
    ])
  })

  it('reads nothing where there is nothing', async () => {
    expect(await readWhole(path, never)).toBeUndefined()
  })
})
