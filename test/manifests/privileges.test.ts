import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { healthPort } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import type { Process } from '../support/process.ts'
import { until } from '../support/until.ts'
import { container, find, readManifests } from './yaml.ts'

const granted = container(find(readManifests('kubernetes/base'), 'DaemonSet')).securityContext.capabilities
  .add

/** As a container runtime confines it: capabilities, no way to get more, all read-only but the mounts that it was given. */
const confine = `
mount --bind "$1" "$1"
mount -o remount,bind,ro /
if mountpoint -q /run; then mount -o remount,bind,ro /run; fi
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
capabilities=$2
shift 2
exec setpriv --bounding-set="-all,$capabilities" --inh-caps=-all --no-new-privs "$@"
`

describe.skipIf(whyNoBed() !== undefined)('an agent with what the DaemonSet grants', () => {
  let overlay: OverlayBed
  let hosts: readonly Host[]
  let started: Process[] = []
  beforeAll(async () => {
    overlay = await overlayBed('confined', ['h1', 'h2', 'h3'])
    hosts = overlay.hosts
    await overlay.configure()
  })
  afterAll(() => overlay?.dispose())

  function start(host: Host, capabilities: readonly string[]): Process {
    const words = capabilities.map(name => `+${name.toLowerCase()}`).join(',')
    const flags = [
      `--etcd-endpoints=${overlay.etcd.endpoints.join(',')}`,
      `--subnet-file=${host.subnetFile}`,
      `--cache-file=${join(host.directory, 'leases.json')}`,
      `--cni-conf-file=${join(host.directory, 'cni', '10-flannel.conflist')}`,
      `--healthz-port=${healthPort}`,
      `--local-socket=${host.localSocket}`,
      '--iface=eth0',
      '--ip-masq',
    ]
    const agent = [process.execPath, 'dist/twilld.js', ...flags]
    const shell = ['sh', '-euc', confine, 'sh', host.directory, words, ...agent]
    const one = host.spawn(['unshare', '--mount', ...shell], { name: 'confined' })
    started = [...started, one]
    return one
  }

  const answer = async (host: Host) => await host.httpGet(healthPort, '/readyz')
  const ready = (host: Host, agent: Process) =>
    until(`${host.name} to be ready`, async () => (await answer(host))?.status === 200, {
      otherwise: () => agent.text(),
    })

  it('makes the overlay, the rules and all files', async () => {
    const agents = hosts.slice(0, 2).map(host => start(host, granted))
    await Promise.all(agents.map((agent, i) => ready(hosts[i] as Host, agent)))
    for (const host of hosts.slice(0, 2)) {
      expect(await host.exec(['iptables', '-t', 'nat', '-S', 'FLANNEL-POSTRTG'])).toContain('MASQUERADE')
      expect(readFileSync(join(host.directory, 'cni', '10-flannel.conflist'), 'utf8')).toContain('"cbr0"')
    }
    const [from, to] = await Promise.all(hosts.slice(0, 2).map(host => host.pod()))
    const reached = async () => (await from?.ping(to?.address() ?? '', { count: 1 }))?.length === 1
    await until('one pod to reach the other', reached)
    expect(agents.map(agent => agent.text()).join('')).not.toMatch(/EPERM|EACCES|EROFS|not permitted|denied/)
  })

  it('needs NET_RAW beside it where rules are in iptables-legacy', async () => {
    const host = hosts[2] as Host
    await host.exec(['iptables-legacy', '-t', 'nat', '-N', 'KUBE-POSTROUTING'])
    const confined = start(host, granted)
    await confined.says(/subnet\.env written|[Pp]ermission denied/)
    const chain = async () =>
      (await host.attempt(['iptables-legacy', '-t', 'nat', '-S', 'FLANNEL-POSTRTG'])).code === 0
    expect(await chain()).toBe(false)
    await confined.stop()
    await ready(host, start(host, [...granted, 'NET_RAW']))
    expect(await chain()).toBe(true)
  })
})
