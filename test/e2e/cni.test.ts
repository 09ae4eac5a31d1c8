import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Ip, parseIp } from '../../lease/net/ip.ts'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import { type CniPod, CniRuntime, seenAs, tellClients } from '../support/cni.ts'
import type { Host } from '../support/host.ts'
import { addService } from '../support/kube_proxy.ts'
import type { Namespace } from '../support/namespace.ts'
import { dualStack, type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const conflistOf = (host: Host) => join(host.directory, 'cni', '10-flannel.conflist')
const port = 8080
const hostPort = 30_080

for (const mode of ['iptables', 'nft'] as const) {
  describe.skipIf(why !== undefined)(`pods made by Debian's CNI plugins, with rules in ${mode}`, () => {
    let overlay: OverlayBed
    let hosts: readonly Host[]
    let agents: Agent[]
    let pods: CniPod[]

    beforeAll(async () => {
      overlay = await overlayBed(`cni-${mode}`, ['h1', 'h2', 'h3'])
      hosts = overlay.hosts
      await overlay.configure({ ...dualStack, EnableNFTables: mode === 'nft' })
      for (const host of hosts) {
        await host.sysctl({ 'ipv6/conf/default/accept_dad': 0 })
        // No pod is there, but a host knows where to send what it does not know.
        await host.ip(['route add default via 192.168.50.1', 'route add default via fd50::1'])
        // As Docker leaves it. In nft mode nothing that is ours could help there: an accept holds in its own table alone.
        if (mode === 'iptables') await host.exec(['iptables', '-P', 'FORWARD', 'DROP'])
      }
      agents = await Promise.all(
        hosts.map(host =>
          host.startAgent({
            endpoints: overlay.etcd.endpoints,
            flags: ['--ip-masq', `--cni-conf-file=${conflistOf(host)}`, '--iptables-resync=1'],
          }),
        ),
      )
      await overlay.connected()
      const [r1, r2, r3] = hosts.map(host => new CniRuntime(overlay.bed, host, conflistOf(host)))
      const portMappings = [{ hostPort, containerPort: port, protocol: 'tcp' as const }]
      pods = await Promise.all([r1, r2, r3].map(async r => (await r?.add(portMappings)) as CniPod))
      pods.push((await r1?.add()) as CniPod)
      await Promise.all([...pods, overlay.bed.hosts[0] as Host].map(listener => tellClients(listener, port)))
    })
    afterAll(() => overlay?.dispose())

    it('get their network last of all', () => {
      for (const [i, host] of hosts.entries()) {
        expect(statSync(conflistOf(host)).mtimeMs).toBeGreaterThanOrEqual(statSync(host.subnetFile).mtimeMs)
        expect(host.subnetEnv().FLANNEL_IPMASQ).toBe('true')
        const said = agents[i]?.log().map(({ msg }) => msg) ?? []
        const order = ['firewall rules written', 'subnet.env written', 'CNI network written']
        expect(said.filter(msg => order.includes(msg))).toEqual(order)
      }
    })

    it('reach each other from every host, and see each other under their own addresses', async () => {
      const wrong: string[] = []
      for (const from of pods)
        for (const to of pods)
          for (const family of ['ipv4', 'ipv6'] as const) {
            if (from === to) continue
            const seen = await seenAs(from, to.address(family), port)
            if (seen !== from.address(family))
              wrong.push(`${from.address(family)} to ${to.address(family)}: seen as ${seen}`)
          }
      expect(wrong).toEqual([])
    })

    it('are reached from every host', async () => {
      const lost: string[] = []
      for (const host of hosts)
        for (const pod of pods)
          for (const address of pod.addresses)
            if ((await host.ping(address, { count: 1 })).length === 0) lost.push(`${host.name} to ${address}`)
      expect(lost).toEqual([])
    })

    it('are reached by a Service from pods and hosts, whose backend sees the pod itself', async () => {
      const backend = pods[1] as CniPod
      for (const [family, clusterIp, network] of [
        ['ipv4', '10.96.0.10', dualStack.Network],
        ['ipv6', 'fd96::10', dualStack.IPv6Network],
      ] as const) {
        const service = {
          clusterIp: parseIp(clusterIp),
          port: 80,
          backend: backend.address(family),
          backendPort: port,
        }
        await Promise.all(hosts.map(host => addService(host, service, network, mode)))
        const clients = pods.filter(pod => pod !== backend)
        const seen = await Promise.all(clients.map(pod => seenAs(pod, clusterIp, 80)))
        expect(seen).toEqual(clients.map(pod => pod.address(family)))
        // A host, and a pod that is its own backend, come out masqueraded: an answer has to find its way back.
        expect(await seenAs(hosts[0] as Host, clusterIp, 80)).toBeDefined()
        expect(await seenAs(hosts[1] as Host, clusterIp, 80)).toBeDefined()
        expect(await seenAs(backend, clusterIp, 80)).toBe(gatewayOf(backend, family))
      }
    })

    it('are seen outside of the overlay as their host', async () => {
      const outside = overlay.bed.hosts[0] as Host
      for (const family of ['ipv4', 'ipv6'] as const) {
        const seen = await Promise.all(
          pods.slice(0, 3).map(pod => seenAs(pod, outside.address(family), port)),
        )
        expect(seen).toEqual(hosts.map(host => host.address(family)))
      }
    })

    it('are reached by a port of their host', async () => {
      expect(await seenAs(overlay.bed.hosts[0] as Namespace, (hosts[1] as Host).address(), hostPort)).toBe(
        (overlay.bed.hosts[0] as Host).address(),
      )
    })

    it('come through a firewall that was flushed', async () => {
      const host = hosts[0] as Host
      const flush =
        mode === 'nft' ? ['nft', 'delete', 'table', 'ip', 'flannel-ipv4'] : ['iptables', '-F', 'FORWARD']
      await host.exec(flush)
      const [from, to] = [pods[0] as CniPod, overlay.bed.hosts[0] as Host]
      await until(
        'the rules to be repaired',
        async () => (await seenAs(from, to.address(), port, 2)) === host.address(),
      )
      expect(await agents[0]?.logs(/^firewall rules repaired/)).toBeDefined()
    })

    it('pass CHECK and leave nothing behind after DEL', async () => {
      for (const pod of pods) await pod.check()
      for (const pod of pods) await pod.delete()
      expect(pods.flatMap(pod => pod.runtime.reserved)).toEqual([])
      for (const host of hosts)
        expect(await host.exec(['ip', 'link', 'show', 'type', 'veth'])).not.toContain('master cni0')
    })
  })
}

function gatewayOf(pod: CniPod, family: 'ipv4' | 'ipv6'): Ip | undefined {
  const index = family === 'ipv4' ? 0 : 1
  const gateway = pod.result.ips[index]?.gateway
  return gateway === undefined ? undefined : parseIp(gateway)
}
