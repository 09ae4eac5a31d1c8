import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { healthPort } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import { attempt, run } from '../support/exec.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'
import { container, find, readManifests } from './yaml.ts'

// A minute of work, and Debian's buildah, mmdebstrap and runc (no registry is asked: the base is made from Debian's packages):
//     TWILL_TEST_IMAGE=1 npx vitest run test/manifests/image.test.ts
const wanted = process.env.TWILL_TEST_IMAGE === '1' && whyNoBed() === undefined

describe.skipIf(!wanted)('the image', () => {
  let directory: string
  let builder: string
  let overlay: OverlayBed
  /** The root file system of a container of it. */
  let root: string
  const buildah = async (...words: readonly string[]) => (await run([builder, ...words])).trim()

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'twill-image-'))
    builder = join(directory, 'builder')
    const storage = `--root ${directory}/storage --runroot ${directory}/run --storage-driver vfs`
    writeFileSync(builder, `#!/bin/sh\nexec buildah ${storage} "$@"\n`, { mode: 0o755 })
    const base = join(directory, 'base.tar')
    await run(['mmdebstrap', '--quiet', '--variant=minbase', 'bookworm', base], { withinMs: 200_000 })
    const scratch = await buildah('from', 'scratch')
    await buildah('add', '--quiet', scratch, base, '/')
    await buildah('commit', '--quiet', scratch, 'localhost/base')
    for (const arch of ['amd64', 'arm64'])
      await run(['manifests/image/build', `localhost/twill:${arch}`, '--isolation', 'chroot'], {
        env: { BUILDER: builder, BASE: 'localhost/base', ARCH: arch },
        withinMs: 300_000,
      })
    root = await buildah('mount', await buildah('from', 'localhost/twill:amd64'))
    overlay = await overlayBed('image', ['h1'])
    await overlay.configure()
  }, 900_000)
  afterAll(async () => {
    await overlay?.dispose()
    rmSync(directory, { recursive: true, force: true })
  })

  it('has Node.js 24, the agent and its CLI, both firewalls, and nothing else', async () => {
    const inside = (...words: readonly string[]) => run(['chroot', root, ...words])
    expect(await inside('/usr/local/bin/node', '--version')).toMatch(/^v24\./)
    expect(await inside('/usr/local/bin/twill', '--help')).toContain('twill')
    const injected = ['env', 'NODE_OPTIONS=--require /no/such/file.js', 'chroot', root]
    expect(await run([...injected, '/usr/local/bin/twilld', '--version'])).toMatch(/^[\d.]+$/m)
    for (const tool of ['nft', 'iptables', 'ip6tables', 'iptables-legacy'])
      expect(await inside(`/usr/sbin/${tool}`, '--version')).toMatch(/^(nf|ip6?)tables v/)
    const programs = (
      await run(['sh', '-c', `cd ${root} && ls bin sbin usr/bin usr/sbin 2>/dev/null; ls opt/twill`])
    ).split('\n')
    for (const none of ['sh', 'bash', 'chroot', 'apt-get', 'dpkg', 'demo.js', 'bench.js', 'chaos.js'])
      expect(programs).not.toContain(none)
    const megabytes = Number((await run(['du', '-sm', root])).split('\t')[0])
    console.info(`the image unpacked: ${megabytes} MB`)
    expect(megabytes).toBeLessThan(160)
  })

  it('names what is in it, for scanners, and the base has to be named by digest', async () => {
    const { components } = JSON.parse(readFileSync(join(root, 'opt/twill/sbom.cdx.json'), 'utf8'))
    expect(components.length).toBeGreaterThan(10)
    expect(readdirSync(join(root, 'var/lib/dpkg/status.d'))).toEqual(
      expect.arrayContaining(['libc6', 'nftables', 'iptables', 'iproute2']),
    )
    expect(readFileSync(join(root, 'var/lib/dpkg/status.d/libc6'), 'utf8')).toMatch(/^Version: 2\./m)
    const floating = await attempt(['manifests/image/build', 'x'], { env: { BASE: 'debian:bookworm-slim' } })
    expect([floating.code, floating.stderr]).toEqual([1, expect.stringContaining('by digest')])
  })

  it('is built for arm64 on another machine: nothing in it is for any other', async () => {
    const other = await buildah('mount', await buildah('from', '--arch', 'arm64', 'localhost/twill:arm64'))
    const programs = ['usr/local/bin/node', 'usr/sbin/nft', 'opt/twill/native/koffi-arm64.node']
    for (const program of programs) expect(machineOf(join(other, program)), program).toBe(AARCH64)
    expect(readdirSync(join(other, 'opt/twill/native')).sort()).toEqual([
      'koffi-arm64.node',
      'netlink-arm64.node',
    ])
  })

  it('runs the agent with what the DaemonSet grants', async () => {
    const host = overlay.hosts[0] as Host
    const flags = [
      `--etcd-endpoints=${overlay.etcd.endpoints.join(',')}`,
      `--healthz-port=${healthPort}`,
      '--ip-masq',
      '--iface=eth0',
      '--cni-conf-file=/etc/cni/net.d/10-flannel.conflist',
    ]
    const bundle = join(directory, 'bundle')
    mkdirSync(bundle)
    writeFileSync(
      join(bundle, 'config.json'),
      JSON.stringify(ociConfig(host, ['/usr/local/bin/twilld', ...flags])),
    )
    const agent = host.spawn([
      'runc',
      '--root',
      join(directory, 'runc'),
      'run',
      '--bundle',
      bundle,
      host.netns,
    ])
    await until('the agent of the image to be ready', async () => (await host.readyz()).status === 200, {
      otherwise: () => agent.text(),
    })
    expect(await host.exec(['ip', 'link', 'show', 'flannel.1'])).toContain('UP')
    expect(await host.exec(['iptables', '-t', 'nat', '-S', 'FLANNEL-POSTRTG'])).toContain('MASQUERADE')
    expect(agent.text()).toContain('CNI network written')
    // As `kubectl exec` asks it: with the tools of the image, which have to see the whole host.
    const exec = ['runc', '--root', join(directory, 'runc'), 'exec', host.netns, '/usr/local/bin/twill']
    expect(JSON.parse(await host.exec([...exec, 'doctor', '--json']))).toEqual([])
    expect(await host.exec([...exec, 'diff'])).toBe('The kernel is as desired\n')
  })

  /** What a container runtime makes of the DaemonSet's securityContext (OCI runtime specification 1.0). */
  function ociConfig(host: Host, args: readonly string[]): object {
    const { add } = container(find(readManifests('kubernetes/base'), 'DaemonSet')).securityContext
      .capabilities
    const granted = add.map(name => `CAP_${name}`)
    const writable = ['/run/flannel', '/run/twill', '/etc/cni/net.d', '/var/lib/twill']
    const bind = (destination: string) => {
      const source = join(host.directory, destination.replaceAll('/', '_'))
      mkdirSync(source)
      return { destination, source, type: 'bind', options: ['bind', 'rw'] }
    }
    const mount = (destination: string, type: string, ...options: string[]) => ({
      destination,
      type,
      source: type,
      options,
    })
    return {
      ociVersion: '1.0.2',
      root: { path: root, readonly: true },
      process: {
        args,
        cwd: '/',
        user: { uid: 0, gid: 0 },
        env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin'],
        capabilities: { bounding: granted, effective: granted, permitted: granted },
        noNewPrivileges: true,
      },
      mounts: [
        mount('/proc', 'proc'),
        mount('/dev', 'tmpfs', 'nosuid', 'mode=755'),
        mount('/sys', 'sysfs', 'ro'),
        ...writable.map(bind),
      ],
      linux: {
        namespaces: [
          ...['pid', 'ipc', 'uts', 'mount'].map(type => ({ type })),
          { type: 'network', path: `/run/netns/${host.netns}` },
        ],
        readonlyPaths: ['/proc/sys'],
      },
    }
  }
})

/** e_machine of an ELF header (elf(5)). */
const AARCH64 = 183

function machineOf(file: string): number {
  return readFileSync(file).readUInt16LE(18)
}
