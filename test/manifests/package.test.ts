import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whyNoBed } from '../support/bed.ts'
import { attempt, run } from '../support/exec.ts'
import type { Host } from '../support/host.ts'
import { overlayBed } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)
/** A loaded machine bundles and compresses for a minute. */
const slow = 300_000
const node = process.execPath
const [arch, nodeArch, otherArch] =
  process.arch === 'arm64' ? ['arm64', 'arm64', 'x64'] : ['amd64', 'x64', 'arm64']

describe.skipIf(why !== undefined)('the packages', () => {
  let directory: string
  let deb: string
  let newer: string
  let tarball: string
  const in_ = (...path: readonly string[]) => join(directory, ...path)

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'twill-packages-'))
    for (const turn of ['one', 'two'])
      await run([node, 'manifests/package/package.mjs', arch, in_(turn)], {
        env: { ...process.env, SOURCE_DATE_EPOCH: '1700000000', npm_config_offline: 'true' },
        withinMs: slow,
      })
    const [debName, tgzName] = readdirSync(in_('one')).sort(
      (a, b) => Number(a.endsWith('z')) - Number(b.endsWith('z')),
    )
    ;[deb, tarball] = [in_('one', debName ?? ''), in_('one', tgzName ?? '')]
    newer = in_('newer.deb')
    await run(['dpkg-deb', '--raw-extract', deb, in_('raw')])
    const control = readFileSync(in_('raw/DEBIAN/control'), 'utf8')
    writeFileSync(in_('raw/DEBIAN/control'), control.replace(/^Version: .*$/m, 'Version: 99.0'))
    await run(['dpkg-deb', '-Zgzip', '-z1', '--root-owner-group', '--build', in_('raw'), newer])
  }, 2 * slow)
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  /** A dpkg with a database of its own: scripts of packages run as they do on a system that is not booted. */
  function dpkgRoot(name: string) {
    const root = in_(name)
    for (const folder of ['info', 'updates', 'triggers'])
      mkdirSync(join(root, 'var/lib/dpkg', folder), { recursive: true })
    writeFileSync(join(root, 'var/lib/dpkg/status'), '')
    const flags = [`--root=${root}`, '--force-script-chrootless', '--force-depends', '--force-confold']
    return {
      root,
      dpkg: (...words: readonly string[]) => run(['dpkg', ...flags, ...words], { withinMs: 60_000 }),
    }
  }

  it('are made offline, and are the same bytes each time', async () => {
    const names = readdirSync(in_('one'))
    expect(names.map(name => name.replace(/\d+\.\d+\.\d+/, 'V')).sort()).toEqual([
      `twill-V-linux-${nodeArch}.tgz`,
      `twill_V_${arch}.deb`,
    ])
    for (const name of names)
      expect(readFileSync(in_('one', name)).equals(readFileSync(in_('two', name))), name).toBe(true)
  })

  it('hold what a host needs, and neither tests nor another architecture', async () => {
    const listed = (await run(['dpkg-deb', '--contents', deb])).split('\n')
    const paths = listed.flatMap(line => / \.\/(\S*[^/])(?: -> (.*))?$/.exec(line)?.slice(1, 2) ?? [])
    for (const path of [
      'usr/bin/twilld',
      'usr/bin/twill',
      'usr/lib/systemd/system/twilld.service',
      'usr/lib/systemd/system/twilld@.service',
      'etc/default/twilld',
      'usr/share/man/man8/twilld.8.gz',
      'usr/share/man/man8/twill.8.gz',
      'usr/share/bash-completion/completions/twill',
      `usr/lib/twill/native/netlink-${nodeArch}.node`,
      `usr/lib/twill/native/koffi-${nodeArch}.node`,
      'usr/lib/twill/sbom.cdx.json',
      'usr/share/doc/twill/copyright',
    ])
      expect(paths).toContain(path)
    expect(
      paths.filter(
        path => /demo|bench|chaos|node_modules|\.test\./.test(path) || path.includes(`-${otherArch}.`),
      ),
    ).toEqual([])
    expect(await run(['dpkg-deb', '--field', deb, 'Depends', 'Recommends'])).toBe(
      'Depends: nodejs (>= 20.19), libc6 (>= 2.28), libstdc++6, libgcc-s1\n' +
        'Recommends: etcd-server, iptables, nftables, containernetworking-plugins, iproute2\n',
    )
  })

  it('load no addon but those that npm has a hash of', () => {
    const files = readdirSync(in_('raw/usr/lib/twill')).filter(name => name.endsWith('.js'))
    const loads = files.flatMap(name => [
      ...readFileSync(in_('raw/usr/lib/twill', name), 'utf8').matchAll(/nativeRequire\(['"`]([^'"`]+)/g),
    ])
    expect([...new Set(loads.map(([, path]) => path))].sort()).toEqual([
      './native/koffi-',
      './native/netlink-',
    ])
    const texts = files.map(name => readFileSync(in_('raw/usr/lib/twill', name), 'utf8')).join('')
    expect(texts).not.toMatch(/node-gyp-build|prebuilds\//)
  })

  it('name all code that is in them, each with the hash of the lock', () => {
    const { components } = JSON.parse(readFileSync(in_('raw/usr/lib/twill/sbom.cdx.json'), 'utf8')) as Sbom
    const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')).packages
    const names = components.map(({ name }) => name)
    for (const name of [
      'netlink',
      'koffi',
      `@koromix/koffi-linux-${nodeArch}`,
      '@grpc/grpc-js',
      'etcd3',
      'pino',
    ])
      expect(names).toContain(name)
    for (const none of ['vitest', 'esbuild', 'yargs', `@koromix/koffi-linux-${otherArch}`])
      expect(names).not.toContain(none)
    const hashes = new Set(Object.values(lock as Lock).map(({ integrity }) => integrity))
    for (const { name, hashes: own } of components) {
      const sha512 = own.find(({ alg }) => alg === 'SHA-512')?.content ?? ''
      expect(hashes, name).toContain(`sha512-${Buffer.from(sha512, 'hex').toString('base64')}`)
    }
  })

  it.skipIf(!existsSync('/usr/bin/lintian'))('have no errors that lintian finds', async () => {
    const { stdout } = await attempt(['lintian', '--allow-root', deb], { withinMs: slow })
    expect(stdout.split('\n').filter(line => line.startsWith('E:'))).toEqual([])
  })

  it('install, upgrade, remove and purge: the file of variables is kept, and nothing is enabled', async () => {
    const { root, dpkg } = dpkgRoot('system')
    const variables = join(root, 'etc/default/twilld')
    await dpkg('--install', deb)
    const version = await run([node, join(root, 'usr/bin/twilld'), '--version'])
    expect(await run([node, join(root, 'usr/bin/twill'), '--version'])).toBe(version)
    expect(existsSync(join(root, 'etc/systemd'))).toBe(false)
    writeFileSync(variables, 'FLANNELD_IFACE=eth1\n')

    await dpkg('--install', newer)
    const status = (await dpkg('--status', 'twill')).split('\n')
    for (const line of ['Status: install ok installed', 'Version: 99.0']) expect(status).toContain(line)
    expect(readFileSync(variables, 'utf8')).toBe('FLANNELD_IFACE=eth1\n')

    for (const file of ['var/lib/twill/etcd', 'run/twill']) mkdirSync(join(root, file), { recursive: true })
    await dpkg('--remove', 'twill')
    expect(existsSync(join(root, 'usr/lib/twill'))).toBe(false)
    expect([variables, join(root, 'var/lib/twill')].every(existsSync)).toBe(true)
    await dpkg('--purge', 'twill')
    const left = (await run(['find', root, '-type', 'f', '-not', '-path', '*/dpkg/*'])).trim()
    expect([left, existsSync(join(root, 'var/lib/twill')), existsSync(join(root, 'run/twill'))]).toEqual([
      '',
      false,
      false,
    ])
  })

  it('upgrade under traffic: not one packet is lost', async () => {
    const overlay = await overlayBed('deb', ['h1', 'h2'])
    try {
      await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
      const { root, dpkg } = dpkgRoot('traffic')
      const [h1, h2] = overlay.hosts as [Host, Host]
      const start = (n: number) => {
        const words = [node, join(root, 'usr/bin/twilld'), `--etcd-endpoints=${overlay.etcd.endpoints[0]}`]
        const files = [
          `--subnet-file=${h1.subnetFile}`,
          '--cache-file=none',
          `--local-socket=${h1.localSocket}`,
        ]
        return h1.spawn([...words, ...files, '--iface=eth0', '--healthz-port=8081'], {
          name: `packaged-${n}`,
        })
      }
      const ready = async () => (await h1.readyz()).status === 200
      await dpkg('--install', deb)
      const before = start(1)
      await until('the packaged agent', ready, { otherwise: () => before.text() })
      await h2.startAgent({ endpoints: overlay.etcd.endpoints })
      const [from, to] = [await h1.pod(), await h2.pod()]
      const pings = from.spawn(['ping', '-n', '-i', '0.02', to.address()])
      await pings.says(/icmp_seq=2 /)

      await dpkg('--install', newer)
      // As systemd's try-restart does, which postinst asks for.
      await before.stop()
      const after = start(2)
      await until('the new agent', ready, { otherwise: () => after.text() })
      await pings.stop('SIGINT')
      expect(pings.text()).toMatch(/, 0% packet loss/)
    } finally {
      await overlay.dispose()
    }
  })

  it('install with npm -g: no dependency, no script', async () => {
    const npm = [
      'npm',
      'install',
      '--global',
      '--offline',
      '--foreground-scripts',
      `--prefix=${in_('global')}`,
      tarball,
    ]
    // `npm run --silent` asks all that it starts for silence.
    const env = { npm_config_loglevel: 'notice' }
    expect(await run(npm, { env, withinMs: 60_000 })).toMatch(/added 1 package/)
    const { scripts, dependencies, ...shipped } = JSON.parse(
      readFileSync(in_('global/lib/node_modules/twill/package.json'), 'utf8'),
    )
    expect([scripts, dependencies]).toEqual([undefined, undefined])
    for (const tool of ['twilld', 'twill'])
      expect((await run([in_('global/bin', tool), '--version'])).trim()).toBe(shipped.version)
    const warned = await attempt([in_('global/bin/twilld'), '--subnet-lease-renew-margin=0'])
    expect(warned.code).toBe(1)
  })
})

interface Sbom {
  readonly components: readonly {
    readonly name: string
    readonly hashes: readonly { readonly alg: string; readonly content: string }[]
  }[]
}

type Lock = Readonly<Record<string, { readonly integrity?: string }>>
