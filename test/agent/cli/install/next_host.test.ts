import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { askedFor } from '../../../../agent/cli/install/install_wish.ts'
import { nextHost } from '../../../../agent/cli/install/next_host.ts'
import { serviceConfig } from '../../../../agent/cli/install/service_config.ts'
import type { Env } from '../../../../agent/config/flags.ts'
import { tokenFile } from '../../../support/token_file.ts'

const { directory, token, file: tokenPath } = tokenFile()

/** The command that a host prints which was installed by these words. */
async function printed(words: readonly string[], env: Env = {}): Promise<string> {
  const config = await serviceConfig(askedFor(words), env)
  return await nextHost(config, words, env)
}

/** Whether `twill install` takes the words of a printed command. */
async function isTaken(command: string): Promise<boolean> {
  const words = command.split(' ').slice(2)
  return (await serviceConfig(askedFor(words), {})) !== undefined
}

describe('the command for the next host', () => {
  const data = join(directory, 'etcd')
  mkdirSync(data)
  writeFileSync(join(data, 'join-token'), `${token}\n`)
  const first = ['--first-host=true', `--embedded-etcd-dir=${data}`]

  it('has the token of the first host, and no flag that the token replaces', async () => {
    const flags = ['--iface=eth0', '--etcd-prefix=/x', '--etcd-endpoints=127.0.0.1:3379', '--wait=9']
    const command = await printed([...first, ...flags, '--docker=true', '--ip-masq=false'])
    expect(command).toBe(`twill install --join=${token} --docker --ip-masq=false`)
    expect(await isTaken(command)).toBe(true)
    const byVariable = await printed(first, { FLANNELD_ETCD_PREFIX: '/x', FLANNELD_ETCD_USERNAME: 'root' })
    expect(byVariable).toBe(`twill install --join=${token}`)
  })

  it('keeps the proxy to etcd, also where a variable gives it', async () => {
    const proxy = 'http://192.0.2.9:3128'
    const expected = `twill install --join=${token} --etcd-proxy=${proxy}`
    expect(await printed([...first, `--etcd-proxy=${proxy}`])).toBe(expected)
    expect(await printed(first, { FLANNELD_ETCD_PROXY: proxy })).toBe(expected)
    expect(await isTaken(expected)).toBe(true)
  })

  it('has the token itself where this host joined by a file with it, or by a variable', async () => {
    const expected = `twill install --join=${token} --cni-conf-file=/etc/cni/net.d/10-flannel.conflist`
    const cni = '--cni-conf-file=/etc/cni/net.d/10-flannel.conflist'
    for (const join of [token, tokenPath])
      expect(await printed([`--join=${join}`, '--member=true', cni])).toBe(expected)
    expect(await printed([cni], { FLANNELD_JOIN: tokenPath })).toBe(expected)
  })

  it('names the store as it was given here', async () => {
    const flags = ['--etcd-prefix=/x', '--etcd-cafile=/etc/ca.pem']
    for (const store of ['--etcd-endpoints=192.0.2.1,192.0.2.2', '--join=192.0.2.1'])
      expect(await printed([store, '--public-ip=192.0.2.5', ...flags])).toBe(
        `twill install ${store} ${flags.join(' ')}`,
      )
    expect(await printed(['--kube-subnet-mgr=true', '--kubeconfig-file=/k'], { NODE_NAME: 'n1' })).toBe(
      'twill install --kube-subnet-mgr --kubeconfig-file=/k',
    )
  })

  it("names the store that the service's variables name here, without a password", async () => {
    const etcd = { FLANNELD_ETCD_ENDPOINTS: '192.0.2.1', FLANNELD_ETCD_PREFIX: '/x' }
    const login = { FLANNELD_ETCD_USERNAME: 'u', FLANNELD_ETCD_PASSWORD: 'secret' }
    expect(await printed(['--docker=true'], { ...etcd, ...login })).toBe(
      'twill install --etcd-endpoints=http://192.0.2.1:2379 --docker --etcd-prefix=/x --etcd-username=u',
    )
    const kube = { NODE_NAME: 'n1', FLANNELD_KUBE_SUBNET_MGR: '1', FLANNELD_KUBECONFIG_FILE: '/k' }
    expect(await printed([], kube)).toBe('twill install --kube-subnet-mgr --kubeconfig-file=/k')
  })

  it.each([
    ['192.0.2.5', '2379', '192.0.2.5'],
    ['192.0.2.5', '3379', '192.0.2.5:3379'],
    ['fd00::5', '3379', "'--join=[fd00::5]:3379'"],
  ])('has the address of a first host without TLS: %s, port %s', async (ip, port, place) => {
    const socket = join(directory, `${ip.replaceAll(':', '-')}-${port}`)
    const agent = createServer((_, answer) => answer.end(JSON.stringify({ lease: `10.244.1.0/24 at ${ip}` })))
    await new Promise<void>(resolve => agent.listen(socket, resolve))
    const words = ['--first-host=true', '--embedded-etcd-plain=true', '--etcd-prefix=/x']
    const here = [`--local-socket=${socket}`, `--etcd-endpoints=127.0.0.1:${port}`]
    const command = await printed([...words, ...here])
    agent.close()
    const expected = place.startsWith("'") ? place : `--join=${place}`
    expect(command).toBe(`twill install ${expected} --etcd-prefix=/x --local-socket=${socket}`)
  })
})
