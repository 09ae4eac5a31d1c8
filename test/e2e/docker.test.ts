import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whyNoBed } from '../support/bed.ts'
import { seenAs, tellClients } from '../support/cni.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import type { Pod } from '../support/pod.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

/**
 * What Docker 28.1 writes for its bridge (here: the pods' cni0) and a container that publishes port 80, in its own order: its chains are
 * put before all else in FORWARD. https://docs.docker.com/engine/network/firewall-iptables/, moby pull request 49518.
 */
const dockerRules = (container: string) => `*filter
:FORWARD DROP
:DOCKER -
:DOCKER-BRIDGE -
:DOCKER-CT -
:DOCKER-FORWARD -
:DOCKER-USER -
-I FORWARD 1 -j DOCKER-USER
-I FORWARD 2 -j DOCKER-FORWARD
-A DOCKER -d ${container} ! -i cni0 -o cni0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i cni0 -o cni0 -j DROP
-A DOCKER-BRIDGE -o cni0 -j DOCKER
-A DOCKER-CT -o cni0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i cni0 -j ACCEPT
COMMIT
*raw
-A PREROUTING -d ${container} ! -i cni0 -p tcp -m tcp --dport 80 -j DROP
COMMIT
`

describe.skipIf(why !== undefined)("Docker 28's own rules", () => {
  let overlay: OverlayBed
  let pods: readonly Pod[]
  beforeAll(async () => {
    overlay = await overlayBed('docker', ['h1', 'h2'])
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    await overlay.startAgents(['--ip-masq'])
    pods = await Promise.all(overlay.hosts.map(host => host.pod()))
    for (const [i, host] of overlay.hosts.entries())
      await host.exec(['iptables-restore', '--noflush'], { input: dockerRules(pods[i]?.address() ?? '') })
  })
  afterAll(() => overlay?.dispose())

  const pings = async () => await (pods[0] as Pod).ping((pods[1] as Pod).address())
  const connects = async (port: number) =>
    (await seenAs(pods[0] as Pod, (pods[1] as Pod).address(), port)) !== undefined

  it('cut containers between hosts, and those of docker.conf let them through: all but a published port', async () => {
    for (const port of [80, 81]) await tellClients(pods[1] as Pod, port)
    expect(await pings()).toEqual([])

    for (const host of overlay.hosts) for (const _ of ['first', 'again']) await startDocker(host)
    expect(await pings()).toHaveLength(3)
    expect(await connects(81)).toBe(true)
    expect(await connects(80)).toBe(false)
    // As --allow-direct-routing leaves it.
    await (overlay.hosts[1] as Host).exec(['iptables', '-t', 'raw', '-F'])
    expect(await connects(80)).toBe(true)

    expect(await (overlay.hosts[1] as Host).exec(['iptables', '-S', 'DOCKER-USER'])).toBe(
      '-N DOCKER-USER\n-A DOCKER-USER -s 10.244.0.0/16 -d 10.244.0.0/16 -j ACCEPT\n',
    )
  })
})

/** Runs what docker.conf has systemd run once Docker has started. */
async function startDocker(host: Host): Promise<void> {
  const unit = readFileSync('manifests/systemd/docker.conf', 'utf8').replaceAll('\\\n', '')
  const [, command = ''] = /^ExecStartPost=-\/bin\/sh -c '(.*)'$/m.exec(unit) ?? []
  const env = Object.entries(host.subnetEnv()).map(([name, value]) => `${name}=${value}`)
  await host.exec(['env', ...env, 'sh', '-c', command])
}
