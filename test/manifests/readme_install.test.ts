import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Bed } from '../support/bed.ts'
import { run } from '../support/exec.ts'
import { BootedHost, whyNoSystemd } from '../support/systemd.ts'

const why = whyNoSystemd()
if (why !== undefined) console.warn(why)

/** The commands of the README's install section, as they are written there. */
const section = /^## Install it\n(.*?)^## /ms.exec(readFileSync('README.md', 'utf8'))?.[1] ?? ''
const commands = [...section.matchAll(/^```sh\n(.*?)^```/gms)].flatMap(([, text = '']) =>
  text.trim().split('\n'),
)
const command = (start: string) => {
  const found = commands.find(line => line.startsWith(start))
  if (found === undefined) throw new Error(`the README has no command '${start}...'`)
  return found.replace(/ +#.*$/, '')
}

describe.skipIf(why !== undefined || process.arch !== 'x64')(
  "the README's install section, as written",
  () => {
    let bed: Bed
    let h1: BootedHost
    let h2: BootedHost
    let packages: string
    beforeAll(async () => {
      packages = mkdtempSync(join(tmpdir(), 'twill-readme-'))
      const env = { ...process.env, npm_config_offline: 'true' }
      await run([process.execPath, 'manifests/package/package.mjs', 'amd64', packages], {
        env,
        withinMs: 300_000,
      })
      bed = await Bed.create({ name: 'readme' })
      const lan = await bed.segment('lan', ['192.168.50.0/24'])
      const plain = await Promise.all(['h1', 'h2'].map(name => bed.host(name, lan)))
      for (const host of plain) await host.ip(['route add default via 192.168.50.254'])
      ;[h1, h2] = (await Promise.all(plain.map(host => BootedHost.boot(host)))) as [BootedHost, BootedHost]
      for (const host of [h1, h2])
        for (const name of readdirSync(packages))
          await host.write(`/srv/${name}`, readFileSync(join(packages, name)))
    }, 420_000)
    afterAll(async () => {
      await Promise.all([h1, h2].map(host => host?.powerOff()))
      await bed?.dispose()
      rmSync(packages, { recursive: true, force: true })
    })

    async function type(host: BootedHost, line: string): Promise<string> {
      const { code, stdout, stderr } = await host.run(['sh', '-c', `cd /srv && export HOME=/root && ${line}`])
      expect(
        code,
        `${line}\n${stdout}\n${stderr}\n${code === 0 ? '' : await host.sh('journalctl -u twilld -o cat')}`,
      ).toBe(0)
      return stdout
    }

    it('makes nodes of a host with the .deb and of one with the npm package, and undoes it', async () => {
      await type(h1, command('apt-get install ./twill_'))
      await type(h1, command('apt-get install etcd-server'))
      const said = await type(h1, command('twill install --first-host'))
      await type(h2, command('npm install --global'))
      const [, next = ''] = /The next host, as root: (.*)/.exec(said) ?? []
      const [, token = ''] = /--join=(\S+)/.exec(next) ?? []
      expect(next).toBe(command('twill install --join=').replace('TOKEN', token))
      await type(h2, next)
      const unit = 'systemctl show --value --property=FragmentPath,ExecStart twilld'
      expect(await h1.sh(unit)).toMatch(
        /argv\[\]=\/usr\/bin\/twilld --embedded-etcd.*\n*\/(usr\/)?lib\/systemd\/system\/twilld.service/,
      )
      expect(await h2.sh(unit)).toContain('/etc/systemd/system/twilld.service')
      const subnet = /FLANNEL_SUBNET=(.*)\.1\//.exec(await h2.sh('cat /run/flannel/subnet.env'))?.[1]
      await h1.reaches(`${subnet}.0`)
      for (const host of [h2, h1]) {
        await type(host, 'twill uninstall')
        expect(await host.sh('systemctl is-active twilld; ip -br link | grep flannel')).toBe('inactive\n')
      }
      expect(await h1.sh('systemctl is-enabled twilld')).toBe('disabled\n')
    }, 600_000)
  },
)
