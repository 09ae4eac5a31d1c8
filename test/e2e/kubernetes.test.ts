import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { FakeCluster } from '../support/api_server_cluster.ts'
import { Bed, whyNoBed } from '../support/bed.ts'
import { Gateway } from '../support/gateway.ts'
import type { Host } from '../support/host.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const dual =
  '{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd10:244::/48","Backend":{"Type":"vxlan"}}'

describe.skipIf(why !== undefined)('three nodes of a cluster, each with its agent', () => {
  let bed: Bed
  let cluster: FakeCluster
  let gateway: Gateway
  let hosts: Host[]

  beforeEach(async () => {
    bed = await Bed.create({ name: 'kube' })
    cluster = await FakeCluster.open(dual)
    gateway = await Gateway.open(bed.directory, Number(new URL(cluster.server.url).port))
    const lan = await bed.segment('lan', ['192.168.50.0/24', 'fd50::/64'])
    hosts = await Promise.all(['n1', 'n2', 'n3'].map(name => bed.host(name, lan)))
    await Promise.all(hosts.map(host => gateway.lead(host)))
    for (const [i, { name }] of hosts.entries())
      await cluster.createNode({ name, podCidrs: [`10.244.${i + 1}.0/24`, `fd10:244:0:${i + 1}::/64`] })
  })
  afterEach(async () => {
    await bed.dispose()
    gateway.close()
    await cluster.close()
  })

  it('carry pings between all pods in both families, publish flannel annotations and report the network as there', async () => {
    const agents = await Promise.all(hosts.map(host => start(host)))
    await peersOn(hosts, 2)
    const pods = await Promise.all(hosts.map(host => host.pod()))
    for (const pod of pods)
      for (const other of pods) for (const ip of other.addresses) expect(await pod.ping(ip)).toHaveLength(3)

    const [n1] = hosts as [Host]
    expect(n1.subnetEnv()).toMatchObject({
      FLANNEL_SUBNET: '10.244.1.1/24',
      FLANNEL_IPV6_SUBNET: 'fd10:244:0:1::1/64',
      FLANNEL_MTU: '1430',
    })
    const node = await cluster.readNode('n1')
    expect(node.metadata.annotations).toMatchObject({
      'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
      'flannel.alpha.coreos.com/backend-type': 'vxlan',
      'flannel.alpha.coreos.com/public-ip': n1.address(),
      'flannel.alpha.coreos.com/public-ipv6': n1.address('ipv6'),
      'flannel.alpha.coreos.com/backend-data': expect.stringMatching(
        /^\{"VNI":1,"VtepMAC":"([0-9a-f]{2}:){5}[0-9a-f]{2}"\}$/,
      ),
    })
    await until('the condition on all nodes', async () => {
      const nodes = await Promise.all(hosts.map(({ name }) => cluster.readNode(name)))
      return nodes.every(({ status }) =>
        status?.conditions?.some(
          ({ type, status, reason }) =>
            type === 'NetworkUnavailable' && status === 'False' && reason === 'FlannelIsUp',
        ),
      )
    })
    for (const agent of agents) expect((await agent.stop()).code).toBe(0)
  })

  it('follow a node that comes, is given another podCIDR under its name, and goes', async () => {
    const [n1, n2] = hosts as [Host, Host]
    await Promise.all([start(n1), start(n2)])
    await peersOn([n1, n2], 1)
    const agent = await start(hosts[2] as Host)
    await peersOn([n1, n2], 2)

    await agent.stop()
    await cluster.deleteNode('n3')
    await peersOn([n1, n2], 1)
    await cluster.createNode({ name: 'n3', podCidrs: ['10.244.77.0/24', 'fd10:244:0:77::/64'] })
    await start(hosts[2] as Host)
    await until('the new subnet on n1', async () =>
      (await n1.routes()).some(line => line.startsWith('10.244.77.0/24')),
    )
    expect((await n1.routes()).some(line => line.startsWith('10.244.3.0/24'))).toBe(false)
  })

  it('trace packets between pods by name where the API server may be asked for pods', async () => {
    const on = hosts.slice(0, 2)
    await Promise.all(on.map(host => start(host)))
    await peersOn(on, 1)
    const { server } = cluster
    const pods = await Promise.all(on.map(host => host.pod()))
    for (const [i, pod] of pods.entries()) {
      server.pods.set(`default/web-${i}`, `n${i + 1}`)
      server.podIps.set(`default/web-${i}`, pod.addresses)
    }
    server.pods.set('default/new', 'n1')
    const [n1] = on as [Host]
    const { kubeconfigFile, networkConfigFile } = cluster.options('n1')
    const byAgent = [`--local-socket=${n1.localSocket}`]
    const byStore = ['--kube-subnet-mgr', `--kubeconfig-file=${kubeconfigFile}`]
    const files = [`--net-config-path=${networkConfigFile}`, '--timeout=40']
    const trace = (to: string, way: readonly string[]) => {
      const words = ['trace', 'default/web-0', to, ...way, ...(way === byStore ? files : [])]
      return n1.attempt(['env', 'NODE_NAME=n1', process.execPath, 'dist/twill.js', ...words])
    }
    for (const way of [byAgent, byStore]) {
      server.rules.delete('get pods')
      expect((await trace('default/web-1', way)).stderr).toMatch(
        /^twill: Cannot get pods at .*: HTTP 403.*RBAC forbids it: .*resources: \["pods"\], verbs: \["get"\]/,
      )
      server.rules.add('get pods')
      for (const [to, error] of [
        ['default/gone', /^twill: Cannot get pods at .*: HTTP 404, pods "gone" not found\n$/],
        ['default/new', /^twill: Pod default\/new has no address yet\n$/],
      ] as const)
        expect((await trace(to, way)).stderr).toMatch(error)
      const { stdout, code } = await trace('default/web-1', way)
      const [from, to] = pods.map(pod => pod.address())
      expect(stdout).toMatch(new RegExp(`^${from} -> ${to} \\(n2\\)\n`))
      expect(code).toBe(0)
    }
  })

  it('keep the MAC that peers know when a device is lost while no agent runs', async () => {
    const [n1, n2] = hosts as [Host, Host]
    const [agent] = await Promise.all([start(n1), start(n2)])
    await peersOn([n1, n2], 1)
    const mac = async () =>
      (JSON.parse(await n1.exec(['ip', '-j', 'link', 'show', 'flannel.1'])) as [{ address: string }])[0]
        .address
    const before = await mac()
    await agent?.kill9()
    await n1.ip(['link del flannel.1'])
    await start(n1)
    expect(await mac()).toBe(before)
  })

  it('warn on the Node whose podCIDR lies outside of the network, and name both', async () => {
    await cluster.createNode({ name: 'n9', podCidrs: ['10.9.0.0/24'] })
    const agent = launch(hosts[0] as Host, 'n9')
    await until('a warning event', async () => (await cluster.warnings('n9')).length > 0, {
      otherwise: () => agent.process.text(),
    })
    expect((await cluster.warnings('n9'))[0]).toMatch(
      /10\.9\.0\.0\/24.*10\.244\.0\.0\/16|10\.244\.0\.0\/16.*10\.9\.0\.0\/24/,
    )
  })

  it('warn on a Node that is given what another has', async () => {
    await start(hosts[0] as Host)
    await cluster.createNode({ name: 'n8', podCidrs: ['10.244.1.0/24', 'fd10:244:0:8::/64'] })
    await start(hosts[1] as Host, 'n8')
    await until('a warning event on n8', async () =>
      (await cluster.warnings('n8')).some(text => text.includes('n1')),
    )
  })

  function launch(host: Host, node = host.name): Agent {
    const { networkConfigFile, kubeconfigFile } = cluster.options(node)
    const flags = [
      '--kube-subnet-mgr',
      `--kubeconfig-file=${kubeconfigFile}`,
      `--net-config-path=${networkConfigFile}`,
    ]
    return host.launchAgent({ endpoints: [], flags, env: { NODE_NAME: node } })
  }

  async function start(host: Host, node?: string): Promise<Agent> {
    const agent = launch(host, node)
    await agent.ready()
    return agent
  }

  /** In each family. */
  async function peersOn(on: readonly Host[], count: number): Promise<void> {
    for (const host of on)
      for (const family of ['ipv4', 'ipv6'] as const)
        await until(
          `${count} peers on ${host.name}`,
          async () => (await host.routes(family)).filter(line => line.includes('onlink')).length === count,
        )
  }
})
